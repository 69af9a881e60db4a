"""Sites in hospitals: over links that carry bytes alone, a run ends with the very tensors and scores of a simulated one."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support import docs, trees
from support.source import ROOT

from fedsynth.benchmarks.config.errors import OptionError
from fedsynth.benchmarks.running.deploy import kits, parties
from fedsynth.benchmarks.running.deploy.parties import HospitalSite, LinkError, agreed_run, serve, warning
from fedsynth.benchmarks.running.deploy.work import AGREED, Worker
from fedsynth.plugins import VARIABLE
from fedsynth.runtime import checkpoint
from fedsynth.runtime.device import resolve_device
from fedsynth.trainer import Trainer

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


AWAY = "+scenario.absent.midas=[2]"


def simulated(words: Sequence[str], folder: Path) -> Trainer:
    """The run in one process."""
    run = agreed_run(words)
    of = run.scenario.federation(run.dataset, folder / "cache")
    trainer = Trainer(run.method, run.network, of, run.trainer, run.seed, folder / "simulated")
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
    expected = ending(simulated((*words, AWAY), tmp_path))
    assert [row["site"] for row in trainer.state.curve if row["round"] == 2][:2] == ["ixi", "oasis"]
    assert ending(trainer) == expected


@pytest.mark.slow
def test_work_that_dies_between_two_requests_is_begun_anew(tmp_path: Path) -> None:
    agreed = {"words": [*WORDS, "method=fedavg"], "own": [], "where": str(tmp_path)}
    (tmp_path / "local").mkdir()
    (tmp_path / AGREED).write_text(json.dumps(agreed))
    worker, request = Worker(tmp_path, "ixi"), checkpoint.to_bytes({"what": "facts", "round": 0, "trained": 0})
    facts = checkpoint.from_bytes(worker.reply(request), resolve_device("cpu"))
    (process,) = multiprocessing.active_children()
    process.kill()
    process.join()
    time.sleep(1)  # in which the pool notices
    assert checkpoint.from_bytes(worker.reply(request), resolve_device("cpu")) == facts


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


@pytest.mark.parametrize(("over", "extra"), [("flare", "nvflare"), ("flower", "flower")])
def test_what_is_not_installed_is_named(over: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kits, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=f"--over {over} needs .* pip install 'fedsynth\\[{extra}\\]'"):
        kits.carrier(over)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "what", "apart"),
    [
        ("trainer.lr=0.5", "options", "'lr': 0.5, and there 'lr': 0.0002;"),
        ("dataset.size=32", "size of the slices", "32x32, and there 16x16;"),
        ("method=fedprox", "options", "FedProx"),
    ],
)
def test_parties_that_differ_do_not_begin(own: str, what: str, apart: str, tmp_path: Path) -> None:
    words = (*WORDS, "method=fedavg")
    told = f"site midas has another {what} than site ixi, so the run does not begin: {apart}"
    with pytest.raises(OptionError, match=told):
        serve(agreed_run(words), Links(words, tmp_path, {"midas": [own]}), tmp_path / "server")
    assert not (tmp_path / "server" / "curve.jsonl").exists()


# --- over an engine --------------------------------------------------------------------------------------------------

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
OF_FLOWER = ROOT / ".flower" / "bin" / "python"
over = pytest.mark.parametrize("engine", ["flare", "flower"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> tuple[str, str]:
    """An engine, and the interpreter that has it: this one, or for Flower that of its own environment."""
    name: str = request.param
    if find_spec(kits.PACKAGES[name]):
        return name, sys.executable
    if name == "flare":
        pytest.skip("needs NVIDIA FLARE: pip install 'fedsynth[nvflare]'")
    if not OF_FLOWER.exists():
        pytest.skip(f"needs Flower, here or in {OF_FLOWER.parents[1]}: make flower")
    return name, str(OF_FLOWER)


class Deployment:
    """A federation on this machine whose server and hospitals are at work."""

    def __init__(self, folder: Path, engine: tuple[str, str], words: Sequence[str], **of_midas: str) -> None:
        name, python = engine
        self._deploy = (python, "-m", "fedsynth.benchmarks.cli", "deploy")
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        options = (f"--over={name}", f"--port={port}", "--seconds=600")
        subprocess.run([*self._deploy, "plan", str(folder / "kits"), *words, *options], check=True)
        self.at = next((folder / "kits").rglob("localhost")).parent
        self.running = [
            self._begin("serve", "localhost"),
            *(self._begin("join", site) for site in SITES if not of_midas),
        ]
        if of_midas:
            self.running += [self._begin("join", site, **(of_midas if site == "midas" else {})) for site in SITES]

    def _begin(self, what: str, party: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.at / f"{party}.log").open("w") as log:
            words = [*self._deploy, what, str(self.at / party)]
            return subprocess.Popen(words, stdout=log, stderr=log, env=os.environ | environment)

    def agree(self, words: Sequence[str], parties: str = "*") -> None:
        """Put the words of a run into kits."""
        for agreed in self.at.glob(f"{parties}/local/fedsynth.json"):
            agreed.write_text(json.dumps(json.loads(agreed.read_text()) | {"words": [*words]}))

    def train(self) -> subprocess.CompletedProcess[str]:
        """Begin a run by the command, as a coordinator does: in this process, warnings of an engine's are errors."""
        (kit,) = self.at.glob("coordinator*/")
        return subprocess.run([*self._deploy, "train", str(kit)], stdout=subprocess.PIPE, text=True)

    def outcome(self, words: Sequence[str]) -> dict[str, Any]:
        """What a run of these words ends with."""
        self.agree(words)
        before = {*self.at.glob("localhost/runs/*/outcome.json")}
        done = self.train()
        assert done.returncode == 0, done.stdout
        (outcome,) = {*self.at.glob("localhost/runs/*/outcome.json")} - before
        return told(json.loads(outcome.read_text()))

    def end(self) -> None:
        """End all its processes."""
        end(self.at)
        for process in self.running:
            process.wait()


def end(at: Path) -> None:
    """End the processes that work on this folder; those of FLARE's jobs are in sessions of their own."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            here = str(at) in (process / "cmdline").read_bytes().decode(errors="replace")
            if int(process.name) != os.getpid() and (here or (process / "cwd").readlink() == at):
                os.kill(int(process.name), signal.SIGKILL)


@pytest.fixture(scope="module")
def deployment(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp(engine[0])
    (folder / "mortal.py").write_text(MORTAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder / "mortal.py"))
        patch.setenv("MORTAL", str(folder / "mark"))
        made = Deployment(folder, engine, ENDINGS["fedavg"])
        yield made
        made.end()


@pytest.mark.long
@pytest.mark.timeout(3600)
@over
@pytest.mark.parametrize("name", [*ENDINGS, "mortal"])
def test_over_an_engine_a_run_is_the_simulated_one(name: str, deployment: Deployment, tmp_path: Path) -> None:
    """`mortal` loses the process of a site in mid-round: as if the site had been away in that round."""
    words = ENDINGS.get(name, (*WORDS, f"method={name}"))
    found = deployment.outcome(words)
    assert Path(os.environ["MORTAL"]).exists() or name != "mortal"
    assert found == ending(simulated((*words, AWAY) if name == "mortal" else words, tmp_path))


@pytest.mark.long
@pytest.mark.timeout(3600)
@over
def test_over_an_engine_parties_that_differ_do_not_begin(
    engine: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Midas has another file of the method, and says that its numpy is another."""
    ours, theirs = tmp_path / "mortal.py", tmp_path / "theirs" / "mortal.py"
    (theirs.parent / "numpy-0.9.dist-info").mkdir(parents=True)
    (theirs.parent / "numpy-0.9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: numpy\nVersion: 0.9\n"
    )
    ours.write_text(MORTAL)
    theirs.write_text(MORTAL.replace("site.round == 2", "site.round == 3"))
    words = (*WORDS, "method=fedavg")
    monkeypatch.setenv(VARIABLE, str(ours))
    made = Deployment(tmp_path, engine, words, **{VARIABLE: str(theirs), "PYTHONPATH": str(theirs.parent)})
    try:
        for agreed, at_midas, what in (
            (words, words, "version of numpy"),
            ((*WORDS, "method=mortal"), (*WORDS, "method=mortal"), "code of the method"),
            (words, (*words, "trainer.lr=0.5"), "options"),
        ):
            made.agree(agreed)
            made.agree(at_midas, "midas")
            assert made.train().returncode == 1
            refused = f"site midas has another {what} than site ixi, so the run does not begin"
            assert (made.at / "localhost" / kits.REFUSED).read_text().startswith(refused)
        assert not [*made.at.glob("localhost/runs/*/curve.jsonl")]
    finally:
        made.end()


@pytest.mark.long
@pytest.mark.timeout(3600)
@over
def test_its_page_takes_two_hospitals_to_a_synthesis(engine: tuple[str, str], tmp_path: Path) -> None:
    name, python = engine
    for site in ("north", "south"):
        trees.folder(tmp_path / site, sites=(site,))
    prepare = "\n".join(DEPLOYING.commands(0).splitlines()[:2])
    try:
        commands = {"flare": DEPLOYING.commands(0), "flower": f"{prepare}\n{DEPLOYING.commands(1)}"}
        docs.run(tmp_path, commands[name], python)
    finally:
        end(tmp_path)
    made = sorted(path.name for path in tmp_path.glob("kits/**/north/volumes/north/*/*.nii.gz"))
    assert made == ["T1-T2.nii.gz"]
