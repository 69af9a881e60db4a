"""A tiny fixed run of every method on the phantom. `python tests/support/golden.py` writes its numbers to golden.json; look at
the difference before you commit it, because it shows which methods' numbers have changed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fedsynth.benchmarks.contract.toy import ToyFederation
from fedsynth.datasets.phantom.dataset import Phantom
from fedsynth.federation import Federation
from fedsynth.federation.scenario import Scenario
from fedsynth.registry import METHODS
from fedsynth.trainer import Trainer

FILE = Path(__file__).with_suffix(".json")
DEPTHS = {"blocks": 3, "pools": 2}  # of the networks; those of the toy federation are as shallow as they can be
SCENARIO = Scenario("golden", ["ixi", "oasis"], {"ixi": ["T1->T2", "T2->PD"], "oasis": ["T1->T2"]})


def phantom(cache: Path) -> Federation:
    return SCENARIO.federation(Phantom(size=32, slices=2, train=2, val=1, test=1), cache)


def run(name: str, federation: Federation) -> dict[str, float]:
    """After two rounds: the validation PSNR of every site and task in dB, and the root mean square of the server's model."""
    toy = ToyFederation.of(METHODS[name])
    deeper = {name: value for name, value in DEPTHS.items() if hasattr(toy.network, name)}
    trainer = Trainer(toy.method, replace(toy.network, **deeper), federation, toy.options, seed=0)
    for round in (1, 2):
        trainer.round(round)
    rows = trainer.score("val")
    model = trainer.server.model.double()
    found = {f"{row['site']} {row['task']}": row["psnr"] for row in rows}
    return found | {"server": float(model.square().mean().sqrt()) if len(model) else 0.0}


def read() -> Mapping[str, Mapping[str, float]]:
    found: Mapping[str, Mapping[str, float]] = json.loads(FILE.read_text())
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = phantom(Path(folder))
        numbers = {name: {key: round(value, 6) for key, value in run(name, made).items()} for name in METHODS.entries()}
    FILE.write_text(json.dumps(numbers, indent=1) + "\n")
