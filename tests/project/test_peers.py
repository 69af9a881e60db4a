"""The engines that benchmarks/speed compares with ours do the same job, and the comparison refuses one that does not."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from PIL import Image
from support.source import ROOT

from fedsynth.benchmarks.speed import reference
from fedsynth.benchmarks.speed.peers import compare
from fedsynth.benchmarks.speed.peers.job import Bench, Job
from fedsynth.benchmarks.speed.peers.ours import Ours
from fedsynth.benchmarks.speed.peers.pfllib_like import Server

SMALL = Job(width=2, blocks=1, size=32, sites=3, steps=2, batch=2, discriminator_width=2, discriminator_layers=1)


def flat(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])


def test_a_peers_environment_has_what_the_job_imports() -> None:
    imported = "import fedsynth.benchmarks.speed.peers.job, sys; print(*{name.split('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, check=True).stdout.split()
    ours = {Requirement(line).name for line in requires("fedsynth") or () if "extra ==" not in line}
    for needed in filter(Path.exists, map(compare.requirements, compare.PEERS)):
        assert ours & {*found} <= {Requirement(line).name for line in needed.read_text().splitlines()}
    assert {"torch", "tqdm"} < ours & {*found}


def test_the_loop_of_pfllib_trains_as_ours_does() -> None:
    ours, peer = Ours(SMALL), Server(SMALL)
    found = [(ours.round(round), peer.round(round)) for round in (1, 2, 3)]
    np.testing.assert_allclose(*zip(*found, strict=True), rtol=1e-5)
    server, start = flat(peer.global_model), flat(SMALL.nets("s0")["generator"])
    assert (server - start).abs().max() > 6e-4  # six steps of about 2e-4 each
    torch.testing.assert_close(server, ours.trainer.server.model, rtol=0, atol=1e-5)


def test_a_step_of_the_reference_moves_all_as_ours_does() -> None:
    model = reference.Model(SMALL, "s1")
    bench = Bench(SMALL, "s1", SMALL.nets("s1")["generator"])
    for batch in bench.batches(1):
        model.task, model.real_a, model.real_b, model.code = batch.task, batch.source, batch.target, batch.code
        model.optimize_parameters()
        loss = bench.step(str(batch.task), batch.source, batch.target, batch.code)
        torch.testing.assert_close(model.loss_generator.detach(), loss, rtol=1e-5, atol=0)
    for net, ours in ((model.generator, bench.generator), (model.judges, bench.judges)):
        for tensor, own in zip(net.parameters(), ours.parameters(), strict=True):
            torch.testing.assert_close(tensor, own, rtol=0, atol=1e-4)


def test_the_reference_loads_what_was_written(tmp_path: Path) -> None:
    site = SMALL.federation.sites["s0"]
    reference.write(site, tmp_path, 14)  # two more than there are training slices
    assert len(list(tmp_path.glob("*.png"))) == 14
    images = [np.array(Image.open(tmp_path / f"{place}.png")) for place in (1, 13)]
    np.testing.assert_array_equal(*images)
    left, right = np.split(images[0], 2, 1)
    for contrast, channel in enumerate((left[..., 0], left[..., 1], right[..., 1])):
        np.testing.assert_allclose(channel / 127.5 - 1, site.images[1, contrast], atol=1 / 255 + 1e-3)


def test_the_reference_crops_and_flips_both_halves_alike(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(32, dtype=np.uint8) * 7, (32, 1))  # brighter to the right
    Image.fromarray(np.stack([np.concatenate([ramp, ramp], 1)] * 3, 2)).save(tmp_path / "0.png")
    data = reference.Aligned(tmp_path, 32)
    drawn = [data[0] for _ in range(16)]
    for pair in drawn:
        assert pair["A"].shape == (3, 32, 32)
        assert pair["A"].abs().max() <= 1
        torch.testing.assert_close(pair["A"], pair["B"], rtol=0, atol=0)
    assert {bool(pair["A"][0, 0, 0] < pair["A"][0, 0, -1]) for pair in drawn} == {True, False}
    assert len({float(pair["A"].mean()) for pair in drawn}) > 2  # crops of several places


def test_a_round_of_the_reference_trains_and_averages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, trained = reference.Reference(SMALL, tmp_path), []
    average = engine._average  # the last moment at which the sites' models differ
    monkeypatch.setattr(
        engine, "_average", lambda: (trained.extend(flat(model.generator) for model in engine.models), average())
    )
    assert 0 < engine.round() < 200
    assert engine.loader_seconds > 0
    assert not torch.equal(trained[0], trained[1])
    for model in engine.models:
        torch.testing.assert_close(flat(model.generator), torch.stack(trained).mean(0), rtol=0, atol=1e-6)


def test_a_missing_environment_is_answered_with_its_command(tmp_path: Path) -> None:
    with pytest.raises(compare.PeerError, match=r"python3 -m venv .peers/fluke .* -r benchmarks/speed/peers/"):
        compare.interpreter("fluke", tmp_path)
    assert compare.interpreter("pfllib_like", tmp_path) == Path(sys.executable)


class Answered(compare.Worker):
    """A worker whose results are known."""

    def __init__(self, name: str, losses: list[float], seconds: list[float]) -> None:
        self.name, self.losses, self.rounds = name, losses, [{"seconds": second} for second in seconds]


def test_an_engine_that_trains_something_else_is_refused() -> None:
    ours = Answered("ours", [50.0, 40.0], [])
    assert compare.check_losses(Answered("fluke", [50.0001, 40.4], []), ours) == pytest.approx(0.01)
    with pytest.raises(compare.PeerError, match=r"fluke does another job than ours: its loss is 50\.01"):
        compare.check_losses(Answered("fluke", [50.01, 40.0], []), ours)
    assert compare.check_losses(Answered("reference", [55.0, 40.0], []), ours) == pytest.approx(0.1)


def test_the_ratio_is_of_times_in_the_same_repeat() -> None:
    ours = Answered("ours", [], [1.0, 2.0, 4.0])  # a machine that slows down
    peer = Answered("fluke", [], [1.5, 3.0, 6.0])
    assert compare.ratio(peer, ours, "seconds") == pytest.approx((1.5, 1.5, 1.5))


@pytest.mark.slow
def test_engines_take_turns(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    command = [
        sys.executable,
        "-m",
        "fedsynth.benchmarks.speed.peers.compare",
        "pfllib_like",
        "reference",
        "--repeats=3",
    ]
    done = subprocess.run(
        [*command, f"--out={out}", *SMALL.arguments()], cwd=ROOT, check=True, capture_output=True, text=True
    )
    found = json.loads(out.read_text())
    assert {name: len(engine["rounds"]) for name, engine in found["engines"].items()} == dict.fromkeys(
        ("ours", "pfllib_like", "reference"), 3
    )
    assert found["ratios"]["pfllib_like"]["loss"] < 1e-3
    assert done.stdout.count("[") == 4  # an interval for each clock and peer


@pytest.mark.parametrize("name", [path.stem for path in sorted(compare.HERE.glob("requirements-*.txt"))])
def test_peers_run_on_the_torch_of_the_tests(name: str) -> None:
    pinned = set((ROOT / "constraints.txt").read_text().splitlines())
    wanted = (compare.HERE / f"{name}.txt").read_text().splitlines()
    assert {line for line in wanted if line.startswith(("torch==", "numpy=="))} <= pinned
    assert sum(line.startswith("torch==") for line in wanted) == 1
