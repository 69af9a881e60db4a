"""`fedsynth outputs features`: a small network that the test makes sees what a run synthesises."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.inference.feature_network import FeatureNetwork
from fedsynth.benchmarks.inference.features import compare_slices
from fedsynth.benchmarks.records.store import Store
from fedsynth.datasets.phantom import Phantom
from fedsynth.federation import FederationError

CPU = torch.device("cpu")


class Grey(nn.Module):
    """Feature maps that are the image and its negative, and its mean brightness: distances can be worked by hand."""

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        ones = torch.ones_like(images[:, :1])
        return [torch.cat([images[:, :1], ones], 1)], images.mean((2, 3))[:, :1]


class Bare(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images


def save(net: nn.Module, file: Path) -> Path:
    """As TorchScript, which torch calls deprecated in favour of torch.export."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(net, torch.rand(2, 3, 16, 16), strict=False).save(file)
    return file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The results of a tiny run, and its name."""
    results = tmp_path_factory.mktemp("results")
    data = [
        "dataset=phantom",
        "dataset.size=32",
        "dataset.slices=1",
        "dataset.train=1",
        "dataset.val=1",
        "dataset.test=2",
    ]
    small = ["network.width=4", "network.blocks=1", "network.discriminator_width=4", "network.discriminator_layers=1"]
    quick = ["trainer.rounds=2", "trainer.local_steps=10", "trainer.lr=3e-3", "trainer.batch=2", "trainer.device=cpu"]
    scenario = ["scenario=common", "scenario.sites=[ixi,brats]"]
    assert main(["run", "method=fedavg", *data, *small, *quick, *scenario, "--results", str(results)]) == 0
    (record,), _ = Store(results).records()
    assert record.status == "done", record.reason
    return results, record.run


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_scores_are_those_of_what_the_run_synthesised(
    run: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Worked from the run's gallery, which shows every slice that there is, in 256 grey levels."""
    results, name = run
    network = save(Grey(), tmp_path / "grey.pt")
    assert main(["outputs", "features", name, "--network", str(network), "--results", str(results)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{name}\n")
    found = rows(results / "features.csv")
    assert [(row["site"], row["subject"], row["score"]) for row in found] == [
        *(("brats", subject, "perceptual") for subject in ("test000", "test001")),
        *(("ixi", subject, "perceptual") for subject in ("test000", "test001")),
        *((site, "", score) for site in ("brats", "ixi") for score in ("perceptual", "frechet")),
    ]
    for site in ("brats", "ixi"):
        with np.load(Store(results).folder(name) / "gallery.npz") as gallery:
            ours, theirs = (gallery[f"{site}/T1->T2/{kind}"] / 255 for kind in ("prediction", "target"))
        own = [row for row in found if row["site"] == site]
        assert [row["slices"] for row in own] == ["1", "1", "2", "2"]
        *subjects, whole, frechet = (float(row["value"]) for row in own)
        angles = np.arctan(ours) - np.arctan(theirs)  # between (brightness, 1) and (brightness, 1)
        assert subjects == pytest.approx((2 - 2 * np.cos(angles)).mean((1, 2)), rel=0.02)
        assert whole == pytest.approx(np.mean(subjects))
        first, second = ours.mean((1, 2)), theirs.mean((1, 2))
        expected = (first.mean() - second.mean()) ** 2 + (first.std(ddof=1) - second.std(ddof=1)) ** 2
        assert frechet == pytest.approx(expected, rel=0.02)
        assert own[-1]["note"] == ""  # 2 slices for 1 feature
        assert f"{site} T1->T2" in printed


def test_a_perfect_answer_would_score_zero(tmp_path: Path) -> None:
    images, *_ = Phantom(size=32, slices=5).subject("ixi", "test000")
    real = images[:, 1].astype(np.float32)
    network = FeatureNetwork(save(Grey(), tmp_path / "grey.pt"), CPU)
    distances, ours, theirs = compare_slices(real, real, network)
    assert distances.tolist() == [0] * 5
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(ours[:, 0], (real.mean((1, 2)) + 1) / 2, atol=1e-5)


def test_scores_by_another_network_or_of_another_run_stay(run: tuple[Path, str], tmp_path: Path) -> None:
    results, name = run
    out = tmp_path / "out" / "features.csv"
    first, second = save(Grey(), tmp_path / "one.pt"), tmp_path / "two.pt"
    second.write_bytes(first.read_bytes())
    for network in (first, second, first):
        assert (
            main(["outputs", "features", name, "--network", str(network), "--results", str(results), "--out", str(out)])
            == 0
        )
    found = rows(out)
    assert len(found) == 2 * 8
    assert {row["network"].partition(":")[0] for row in found} == {"one.pt", "two.pt"}


def test_few_slices_are_marked(run: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Long(Grey):
        def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
            return [images], images.mean((2, 3))  # three features, two slices

    results, name = run
    network = save(Long(), tmp_path / "long.pt")
    out = tmp_path / "features.csv"
    assert (
        main(["outputs", "features", name, "--network", str(network), "--results", str(results), "--out", str(out)])
        == 0
    )
    assert "unreliable: 2 slices for 3 features" in capsys.readouterr().out
    assert {row["note"] for row in rows(out) if row["score"] == "frechet"} == {"unreliable: 2 slices for 3 features"}


def test_an_exported_network_sees_the_same(tmp_path: Path) -> None:
    images = torch.rand(5, 1, 16, 16) * 2 - 1
    shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(
        torch.export.export(Grey(), (torch.rand(2, 3, 16, 16),), dynamic_shapes=shapes), tmp_path / "grey.pt2"
    )
    found = FeatureNetwork(tmp_path / "grey.pt2", CPU)(images)
    expected = FeatureNetwork(save(Grey(), tmp_path / "grey.pt"), CPU)(images)
    torch.testing.assert_close(found, expected)
    with pytest.raises(FederationError, match=r"grey\.pt2 failed on images \[2, 3, 20, 16\]: .*it must map float32"):
        FeatureNetwork(tmp_path / "grey.pt2", CPU)(torch.zeros(2, 1, 20, 16))


def test_what_is_no_feature_network_is_refused(
    run: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, name = run
    text = tmp_path / "text.pt"
    text.write_text("weights")
    bare = save(Bare(), tmp_path / "bare.pt")
    for file, message in (
        (tmp_path / "missing.pt", r"missing.pt holds no network: "),
        (text, "text.pt holds no network: "),
        (
            bare,
            "bare.pt gives [1, 3, 32, 32] for images [1, 3, 32, 32]; it must map float32 images [B, 3, H, W] in [0, 1] to a pair",
        ),
    ):
        assert main(["outputs", "features", name, "--network", str(file), "--results", str(results)]) == 2
        assert message in capsys.readouterr().err
    assert main(["outputs", "features", "nobody", "--network", str(bare), "--results", str(results)]) == 1
    assert "no finished run named nobody" in capsys.readouterr().err
