"""Seconds from 10,000 records to tables and to the report's page: 40 methods, 10 scenarios on 5 data sets, 5 seeds.

Records are made up (tests/support/finished.py) and as large as real ones of 4 sites, 8 site-tasks, 20 test subjects and 30
rounds, every
number with all its digits: 134 kB each. No run has images.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from support import finished
from tqdm import tqdm

from fedsynth.benchmarks.records.data_card import BINS
from fedsynth.benchmarks.records.record import CURVE, KEYS, SELECTIONS, sealed, sha256
from fedsynth.benchmarks.records.store import Store
from fedsynth.evaluation.columns import metric_columns

COLUMNS = tuple(dict.fromkeys(("psnr", "ssim", "nmse", *metric_columns())))
METHODS, SCENARIOS, DATASETS, SEEDS, SUBJECTS, ROUNDS = 40, 10, 5, 5, 20, 30
TASKS = {site: ["T1->T2", "T2->FLAIR"] for site in ("brats", "ixi", "midas", "oasis")}
PLACES = [(site, task) for site, own in TASKS.items() for task in own]
VARIED = 3  # metrics, the first ones, whose numbers every run has for itself; of the others there are TEMPLATES
TEMPLATES = 16


def identities() -> Iterator[dict[str, Any]]:
    names = ["local", "pooled", *(f"method{number:02d}" for number in range(METHODS - 2))]
    for method in names:
        for scenario in range(SCENARIOS):
            for dataset in range(DATASETS):
                for seed in range(SEEDS):
                    yield finished.identity(
                        method={"name": method},
                        dataset={"name": f"set{dataset}"},
                        data=f"d{dataset}",
                        scenario={"name": f"scenario{scenario}", "sites": list(TASKS), "tasks": TASKS},
                        seed=seed,
                    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of that many runs."""
    return filled(Store(tmp_path_factory.mktemp("store")))


def filled(store: Store) -> Store:
    """The store with all runs; nothing is flushed to the disk one by one, as real runs are."""
    rng = np.random.default_rng(0)
    heads = [f"{s},{site},{task},test{n:03d}" for s in SELECTIONS for site, task in PLACES for n in range(SUBJECTS)]
    tails = [lines(rng.uniform(0, 1, (len(heads), len(COLUMNS) - VARIED))) for _ in range(TEMPLATES)]
    subjects = rng.normal(22, 1.5, len(heads) // 2)
    for number, what in enumerate(tqdm(list(identities()), "records", disable=None)):
        level = sum(map(ord, what["method"]["name"])) % 17 / 10 + rng.normal(0, 0.1)
        psnr = np.concatenate([subjects + level + rng.normal(0, 0.3, subjects.shape) for _ in SELECTIONS])
        scores = table(
            (*KEYS, *COLUMNS),
            heads,
            lines(np.stack([psnr, psnr / 40, 10 ** (-psnr / 20)], 1)),
            tails[number % TEMPLATES],
        )
        rounds = [f"{at},{site}" for at in range(1, ROUNDS + 1) for site in TASKS]
        losses = rng.uniform(1, 2, (len(rounds), len(CURVE) - 2))
        losses[:, CURVE.index("val_psnr") - 2] += 20 + level - np.repeat(5 / np.arange(1, ROUNDS + 1), len(TASKS))
        files = {"scores.csv": scores, "curve.csv": table(CURVE, rounds, lines(losses))}
        record = replace(facts(what), files={name: sha256(content) for name, content in files.items()})
        folder = store.folder(record.run)
        folder.mkdir(parents=True)
        for name, content in (files | {"record.json": sealed(record)}).items():
            (folder / name).write_bytes(content)
    return store


def lines(values: np.ndarray) -> list[str]:
    return [str(row)[1:-1].replace(" ", "") for row in values.tolist()]


def table(columns: tuple[str, ...], *parts: list[str]) -> bytes:
    return "\n".join([",".join(columns), *map(",".join, zip(*parts, strict=True)), ""]).encode()


def facts(what: dict[str, Any]) -> Any:
    """A record with a data card and versions, as real ones have."""
    contrasts = ["T1", "T2", "FLAIR"]
    record = finished.record(what, environment=ENVIRONMENT)
    site = {
        "contrasts": contrasts,
        "subjects": dict.fromkeys(finished.SIZES, 20),
        "slices": dict.fromkeys(finished.SIZES, 160),
    }
    site |= {"size": [64, 64], "foreground": 0.3127, "voxels": {}}
    site |= {"histogram": {key: [round(1 / (n + 3), 5) for n in range(BINS)] for key in contrasts}}
    return replace(record, data=record.data | {"card": dict.fromkeys(TASKS, site)})


VERSIONS = {"python": "3.11.9", "torch": "2.13.0", "numpy": "2.4.6", "scipy": "1.17.1", "hydra-core": "1.3.2"}
ENVIRONMENT = {"commit": "c" * 40, "dirty": False, "device": "cpu (any)", "versions": VERSIONS}


@pytest.mark.parametrize("what", ["first leaderboard", "leaderboard", "report"])
def test_from_records(store: Store, what: str, benchmark: BenchmarkFixture) -> None:
    """In a process of its own, as it is typed; the first one keeps what it reads (records/cache.py)."""
    verb = what.split()[-1]
    command = [sys.executable, "-m", "fedsynth.benchmarks.cli", verb, "--results", str(store.runs.parent)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    before = getrusage(RUSAGE_CHILDREN)
    benchmark.pedantic(
        lambda: subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL), rounds=1
    )
    after = getrusage(RUSAGE_CHILDREN)
    benchmark.extra_info["records"] = len(store.names())
    benchmark.extra_info["CPU seconds"] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)
