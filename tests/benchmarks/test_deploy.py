"""Sites in hospitals: over links that carry bytes alone, a run ends with the very tensors and scores of a simulated one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support import docs, trees

from fedsynth.benchmarks.config.errors import OptionError
from fedsynth.benchmarks.running.deploy import kits, parties
from fedsynth.benchmarks.running.deploy.parties import HospitalSite, LinkError, agreed_run, serve, warning
from fedsynth.plugins import VARIABLE
from fedsynth.runtime import checkpoint
from fedsynth.runtime.device import resolve_device
from fedsynth.trainer import Trainer
from fedsynth.trainer.participation import Participation

DEPLOYING = docs.DocPage("deploy")
SITES = ("ixi", "midas", "oasis")
WORDS = (
    *("network=resnet", "network.width=2", "network.blocks=3", "network.discriminator_width=2"),
    *("network.discriminator_layers=1", "dataset.size=16", "dataset.slices=2", "dataset.train=2", "dataset.val=1"),
    *("dataset.test=1", "scenario=common", f"scenario.sites=[{','.join(SITES)}]"),
    *('scenario.tasks.default=["T1->T2","T2->T1"]', "trainer.rounds=3", "trainer.local_steps=2", "trainer.device=cpu"),
)
PERSONALISED = ("network=personalised", *WORDS[1:], "network.latent=4")
ENDINGS = {
    "fedavg": (*WORDS, "method=fedavg"),
    "fedbn": (*WORDS, "method=fedbn", "network.norm=batch"),
    "scaffold": (*WORDS, "method=scaffold", "trainer.participation=0.67"),
    "pflsynth": (*PERSONALISED, "method=pflsynth"),
    "ditto": (*WORDS, "method=ditto", "scenario.lose=0.3", "seed=1"),
    "fedala": (*WORDS, "method=fedala"),
    "ifca": (*WORDS, "method=ifca", "method.clusters=2", "trainer.participation=0.67"),
}


class Absent(Participation):
    """In round 2, midas is away."""

    def __call__(self, round: int) -> list[str]:
        return [name for name in super().__call__(round) if (name, round) != ("midas", 2)]


def simulated(words: Sequence[str], folder: Path, absent: bool = False) -> Trainer:
    """The run in one process, perhaps with a site that is away."""
    run = agreed_run(words)
    of = run.scenario.federation(run.dataset, folder / "cache")
    trainer = Trainer(run.method, run.network, of, run.trainer, run.seed, folder / "simulated")
    if absent:
        trainer.server_party.participants.__class__ = Absent
    trainer.train()
    return trainer


def ending(of: Trainer) -> dict[str, Any]:
    """Tensors, scores and bytes, and nothing that a clock says; as JSON has it."""
    return told({"digest": of.digests(), "curve": of.state.curve} | best(of.state.best_round, of.state.best_psnr))


def best(round: int, psnr: float) -> dict[str, Any]:
    return {"selected_round": round, "validation_psnr": psnr}


def told(outcome: dict[str, Any]) -> dict[str, Any]:
    rows = [{key: repr(value) for key, value in row.items() if key != "seconds"} for row in outcome["curve"]]
    return {"digest": outcome["digest"], "curve": rows} | best(outcome["selected_round"], outcome["validation_psnr"])


class Links:
    """Links between hospitals that share nothing but this process; `fails` says of a request whether its hospital dies of it."""

    def __init__(self, words: Sequence[str], folder: Path, own: dict[str, Sequence[str]] | None = None) -> None:
        self.words, self.folder, self.own = words, folder, own or {}
        self.hospitals: dict[str, HospitalSite] = {}
        self.dies = self.is_late = ("", 0)

    def __call__(self, name: str, request: bytes) -> Future[bytes]:
        answer: Future[bytes] = Future()
        asked = checkpoint.from_bytes(request, resolve_device("cpu"))
        if (name, asked["round"]) == self.dies and asked["what"] == "train":
            del self.hospitals[name]
            answer.set_exception(LinkError("it died"))
            return answer
        if name not in self.hospitals:
            words = (*self.words, *self.own.get(name, ()))
            self.hospitals[name] = HospitalSite(agreed_run(words), name, self.folder / name)
        content = self.hospitals[name].reply(request)
        if (name, asked["round"]) == self.is_late and asked["what"] == "train":
            answer.set_exception(LinkError("it is late"))
        else:
            answer.set_result(content)
        return answer


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ENDINGS))
def test_over_links_a_run_is_the_simulated_one(name: str, tmp_path: Path) -> None:
    trainer, _ = serve(agreed_run(ENDINGS[name]), Links(ENDINGS[name], tmp_path), tmp_path / "server")
    assert ending(trainer) == ending(simulated(ENDINGS[name], tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["dies", "is_late"])
def test_a_site_that_dies_or_is_late_was_away_in_that_round(fault: str, tmp_path: Path) -> None:
    words = (*WORDS, "method=scaffold")
    links = Links(words, tmp_path)
    vars(links)[fault] = ("midas", 2)
    trainer, _ = serve(agreed_run(words), links, tmp_path / "server")
    expected = ending(simulated(words, tmp_path, absent=True))
    assert [row["site"] for row in trainer.state.curve if row["round"] == 2][:2] == ["ixi", "oasis"]
    assert ending(trainer) == expected


@pytest.mark.slow
def test_what_leaves_a_hospital_is_in_its_journal(tmp_path: Path) -> None:
    words = (*WORDS, "method=fedbn", "network.norm=batch")
    trainer, sites = serve(agreed_run(words), Links(words, tmp_path), tmp_path / "server")
    lines = [json.loads(line) for line in (tmp_path / "ixi" / "journal.jsonl").read_text().splitlines()]
    assert sum(line["bytes"] for line in lines) == sites["ixi"].bytes_received
    uploads = [line["sent"]["upload"] for line in lines if line["what"] == "train"]
    plan = trainer.plan
    assert uploads == [{"model": [plan.model.numel], "buffers": [plan.buffers.numel], "weight": 1}] * 3
    parties.leave_models(trainer, sites)
    here = HospitalSite(agreed_run(words), "ixi", tmp_path / "ixi")
    with here.serving() as site:
        assert site.round == trainer.state.best_round


@pytest.mark.parametrize("method", ["pooled", "pix2pix"])
def test_a_method_that_brings_slices_together_is_refused(method: str) -> None:
    with pytest.raises(
        OptionError, match=f"method={method} trains on the slices of ixi and midas and oasis in one place"
    ):
        agreed_run((*WORDS[8:], f"method={method}"))


def test_a_method_that_hands_models_over_says_so() -> None:
    assert warning(agreed_run((*WORDS, "method=fedfomo"))).startswith("method=fedfomo sends sites the models of other")
    assert warning(agreed_run((*WORDS, "method=fedavg"))) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "what"),
    [("trainer.lr=0.5", "options"), ("dataset.size=32", "size of the slices"), ("method=fedprox", "options")],
)
def test_parties_that_differ_do_not_begin(own: str, what: str, tmp_path: Path) -> None:
    words = (*WORDS, "method=fedavg")
    with pytest.raises(OptionError, match=f"site midas has another {what} than site ixi, so the run does not begin"):
        serve(agreed_run(words), Links(words, tmp_path, {"midas": [own]}), tmp_path / "server")
    assert not (tmp_path / "server" / "curve.jsonl").exists()


# --- NVIDIA FLARE ----------------------------------------------------------------------------------------------------

MORTAL = """
import os, signal
from dataclasses import dataclass
from pathlib import Path
from fedsynth.methods.scaffold import SCAFFOLD

@dataclass
class Mortal(SCAFFOLD):
    \"\"\"SCAFFOLD, whose process dies once at midas in round 2, after a local step.\"\"\"

    def step(self, site, batch):
        yield from super().step(site, batch)
        mark = Path(os.environ.get("MORTAL", ""))
        if site.name == "midas" and site.round == 2 and mark.is_absolute() and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""

DEPLOY = (sys.executable, "-m", "fedsynth.benchmarks.cli", "deploy")


@contextmanager
def federation(folder: Path, words: Sequence[str]) -> Iterator[Path]:
    """The folder of kits of a FLARE project on this machine, whose server and hospitals are at work."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    assert kits.main("plan", folder, words, "localhost", port, 600) == 0
    (at,) = (folder / "fedsynth").glob("prod_*")
    running = []
    try:
        for part in (["serve", at / "localhost"], *(["join", at / name] for name in SITES)):
            with (folder / f"{Path(part[1]).name}.log").open("w") as log:
                running.append(subprocess.Popen([*DEPLOY, *map(str, part)], stdout=log, stderr=log))
        yield at
    finally:
        end(at)
        for process in running:
            process.wait()


def end(at: Path) -> None:
    """End the processes that work on this folder; those of FLARE's jobs are in sessions of their own."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            here = str(at) in (process / "cmdline").read_bytes().decode(errors="replace")
            if int(process.name) != os.getpid() and (here or (process / "cwd").readlink() == at):
                os.kill(int(process.name), signal.SIGKILL)


def train(at: Path, words: Sequence[str]) -> dict[str, Any]:
    """What a run of these words ends with."""
    for agreed in at.glob("*/local/fedsynth.json"):
        agreed.write_text(json.dumps(json.loads(agreed.read_text()) | {"words": [*words]}))
    before = {*at.glob("localhost/runs/*/outcome.json")}
    subprocess.run(
        [*DEPLOY, "train", str(at / kits.ADMIN)], check=True
    )  # not here, where warnings of FLARE's are errors
    (outcome,) = {*at.glob("localhost/runs/*/outcome.json")} - before
    return told(json.loads(outcome.read_text()))


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("flare")
    (folder / "mortal.py").write_text(MORTAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder / "mortal.py"))
        patch.setenv("MORTAL", str(folder / "mark"))
        with federation(folder / "kits", ENDINGS["fedavg"]) as kits_at:
            yield kits_at


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.skipif(find_spec("nvflare") is None, reason="needs NVIDIA FLARE: pip install 'fedsynth[nvflare]'")
@pytest.mark.parametrize("name", [*ENDINGS, "mortal"])
def test_over_flare_a_run_is_the_simulated_one(name: str, at: Path, tmp_path: Path) -> None:
    """`mortal` loses the process of a site in mid-round: as if the site had been away in that round."""
    words = ENDINGS.get(name, (*WORDS, f"method={name}"))
    found = train(at, words)
    assert (at.parents[2] / "mark").exists() or name != "mortal"
    assert found == ending(simulated(words, tmp_path, absent=name == "mortal"))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.skipif(find_spec("nvflare") is None, reason="needs NVIDIA FLARE: pip install 'fedsynth[nvflare]'")
def test_its_page_takes_two_hospitals_to_a_synthesis(tmp_path: Path) -> None:
    for name in ("north", "south"):
        trees.folder(tmp_path / name, sites=(name,))
    try:
        docs.run(tmp_path, DEPLOYING.commands())
    finally:
        end(tmp_path)
    made = sorted(path.name for path in tmp_path.glob("kits/fedsynth/prod_00/north/volumes/north/*/*.nii.gz"))
    assert made == ["T1-T2.nii.gz"]
