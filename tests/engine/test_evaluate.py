"""A subject's scores are means over its slices, a run's are means over site-tasks: checked with scikit-image, slice by slice."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from support.federations import federation, options, resnet, site, trainer
from torch import Tensor

from fedsynth.evaluation import evaluate
from fedsynth.evaluation.columns import metric_columns
from fedsynth.exchange import Message
from fedsynth.federation import Federation, Site, Subject, Task
from fedsynth.feed import Batch, Feed
from fedsynth.method import Method
from fedsynth.methods.fedavg import FedAvg
from fedsynth.networks.blocks import Norm
from fedsynth.networks.mmgan_unet import Fill, MMGANUNet
from fedsynth.registry import METHODS
from fedsynth.runtime import checkpoint
from fedsynth.server import Server
from fedsynth.site import SiteState

TASK = Task("T2", "PD")
METRICS = ("psnr", "ssim", "nmse", "mae")


def uneven() -> Site:
    """Test subjects of one, two and three slices, on images larger than the evaluation's batch can hold at once."""
    whole = site("ixi", train=2, val=1, test=12, slices=3)
    rows = [subject for subject in whole.subjects if subject.split != "test"]
    start, sizes = rows[-1].slices.stop, [1, 2, 3] * 6
    for number, size in enumerate(sizes):
        rows.append(Subject(f"test-{number}", "test", slice(start, start + size)))
        start += size
    assert start == len(whole.images)
    return replace(whole, subjects=tuple(rows))


def feed(of: Site, **given: Any) -> Feed:
    return Feed(Federation({"ixi": of}, {"ixi": (TASK,)}), "ixi", options(**given), 0, torch.device("cpu"))


def shifted(batch: Batch) -> Tensor:
    """A prediction with another error in every slice, beyond [-1, 1] in places."""
    return batch.target * 0.8 + 0.3 * batch.source + 0.1


def by_hand(of: Site, subject: Subject, foreground: bool) -> dict[str, float]:
    """Mean over the subject's slices of scikit-image's scores, on images in [0, 1], in double precision."""
    source, target = (of.images[subject.slices, of.contrasts.index(c)].astype(np.float32) for c in TASK.contrasts)
    prediction = target * np.float32(0.8) + np.float32(0.3) * source + np.float32(0.1)
    rows = []
    for x, y, mask in zip(prediction, target, of.masks[subject.slices], strict=True):
        x, y = (np.clip((image + 1) / 2, 0, 1).astype(np.float64) for image in (x, y))
        inside = mask if foreground else np.ones_like(mask)
        if not inside.any():
            continue
        _, similarity = structural_similarity(x, y, data_range=1.0, full=True)
        margin = (slice(3, -3), slice(3, -3))
        error = x[inside] - y[inside]
        rows.append(
            (
                peak_signal_noise_ratio(y[inside], x[inside], data_range=1.0),
                similarity[margin][inside[margin]].mean(),
                (error**2).sum() / (y[inside] ** 2).sum(),
                np.abs(error).mean(),
            )
        )
    return dict(zip(METRICS, np.mean(rows, axis=0), strict=True)) if rows else dict.fromkeys(METRICS, math.nan)


@pytest.mark.parametrize(
    ("emptied", "without"), [((), set()), ((0,), {"test-0"}), ((1, 2), {"test-1"}), ((3, 5), set())]
)
def test_a_subjects_score_is_the_mean_over_its_slices(emptied: tuple[int, ...], without: set[str]) -> None:
    """`emptied` test slices have no foreground: they have no score there and no weight in the subject's mean."""
    of = uneven()
    masks = np.zeros_like(of.masks)
    masks[:, 4:12, 4:12] = True
    masks[of.rows("test")[list(emptied)]] = False
    of = replace(of, masks=masks)
    rows = evaluate.by_subject(feed(of), TASK, "test", shifted)
    subjects = of.of("test")
    assert [(row["site"], row["task"], row["subject"]) for row in rows] == [("ixi", "T2->PD", s.name) for s in subjects]
    for row, subject in zip(rows, subjects, strict=True):
        for suffix, foreground in (("", False), ("_fg", True)):
            found = {name: row[name + suffix] for name in METRICS}
            assert found == pytest.approx(by_hand(of, subject, foreground), abs=1e-6, nan_ok=True), subject
    assert {row["subject"] for row in rows if math.isnan(row["psnr_fg"])} == without
    assert all(isinstance(value, float) for row in rows for name, value in row.items() if name.startswith(METRICS))


def test_test_subjects_have_details_which_count_the_slices_that_have_them() -> None:
    """The subject of three slices has too little of a lesion, the others at its site have none."""
    of = uneven()
    lesions = np.zeros_like(of.masks)
    [subject] = [s for s in of.of("test") if s.name == "test-2"]
    lesions[subject.slices, 4:8, 4:8] = True
    lesions[subject.slices.start, 4] = False
    rows = evaluate.by_subject(feed(replace(of, lesions=lesions)), TASK, "test", shifted)
    source, target = (of.images[subject.slices, of.contrasts.index(c)].astype(np.float32) for c in TASK.contrasts)
    x, y = np.clip((target * 0.8 + 0.3 * source + 0.1 + 1) / 2, 0, 1), (target + 1) / 2
    [row] = [row for row in rows if row["subject"] == "test-2"]
    assert row["mae_lesion"] == pytest.approx(np.abs(x - y)[1:, 4:8, 4:8].mean((1, 2)).mean(), abs=1e-6)
    assert {row["subject"] for row in rows if math.isfinite(row["psnr_lesion"])} == {"test-2"}
    assert all(math.isfinite(row["hf_nmse"]) for row in rows)
    assert all(math.isnan(row["mae_lesion"]) for row in evaluate.by_subject(feed(of), TASK, "test", shifted))


def test_validation_takes_the_scores_alone_that_judge_a_round() -> None:
    """They are the same numbers as those of the test subjects' columns."""
    of = uneven()
    whole, cheap = (evaluate.by_subject(feed(of), TASK, split, shifted)[0] for split in ("test", "val"))
    assert set(cheap) == {"site", "task", "subject", "psnr", "ssim"}
    assert set(whole) == {"site", "task", "subject", *metric_columns()}
    swap = {"train": "train", "val": "test", "test": "val"}
    judged = replace(of, subjects=tuple(replace(own, split=swap[own.split]) for own in of.subjects))
    (again,) = evaluate.by_subject(feed(judged), TASK, "test", shifted)
    assert (again["psnr"], again["ssim"]) == (cheap["psnr"], cheap["ssim"])


def test_a_runs_score_is_the_mean_over_site_tasks() -> None:
    """Site-tasks have equal weight however many subjects they have."""
    rows = [
        *({"site": "a", "task": "T1->T2", "psnr": value} for value in (10.0, 20.0, 30.0)),
        {"site": "a", "task": "T2->T1", "psnr": 40.0},
        {"site": "b", "task": "T1->T2", "psnr": 6.0},
    ]
    assert evaluate.mean_psnr(rows) == pytest.approx((20 + 40 + 6) / 3)


# --- baselines -------------------------------------------------------------------------------------------------------


def test_copying_the_source_scores_the_source() -> None:
    of = uneven()
    [row, *_] = evaluate.copy_source(feed(of), TASK, "test")
    [image] = of.images[of.of("test")[0].slices]
    source, target = ((image[of.contrasts.index(c)].astype(np.float64) + 1) / 2 for c in TASK.contrasts)
    assert row["mae"] == pytest.approx(np.abs(source - target).mean(), abs=1e-6)
    assert row["psnr"] == pytest.approx(-10 * np.log10(((source - target) ** 2).mean()), abs=1e-5)


def test_the_mean_image_is_of_the_training_targets_alone() -> None:
    of = uneven()
    rows = evaluate.mean_image(feed(of), TASK, "test")
    mean = of.images[of.rows("train"), of.contrasts.index("PD")].astype(np.float64).mean(0)
    for row, subject in zip(rows, of.of("test"), strict=True):
        targets = of.images[subject.slices, of.contrasts.index("PD")].astype(np.float64)
        assert row["mae"] == pytest.approx(np.abs((targets - mean) / 2).mean(), abs=1e-6)


# --- what is served --------------------------------------------------------------------------------------------------


@dataclass
class Restless(Method):
    """Overwrites nets, memory and the message wherever it may."""

    def receive(self, site: SiteState, message: Message) -> None:
        super().receive(site, message)
        site.memory["seen"] = message.model
        message.model.fill_(7)

    def personalise(self, site: SiteState) -> None:
        site.memory["new"] = 1
        site.memory["seen"] = torch.zeros(3)
        with torch.no_grad():
            for tensor in (*site.nets.parameters(), *site.nets.buffers()):
                tensor.add_(1)
        site.fit(1)


def test_scoring_leaves_everything_as_it_was() -> None:
    of = trainer(Restless(), resnet(norm=Norm.batch), ("ixi", "oasis"), validate_every=9)  # nothing was scored before
    of.round(1)
    before = of.digests()
    optimizers = checkpoint.tree_digest({name: site.slot.optimizer_state() for name, site in of.sites.items()})
    training = [site.nets.training for site in of.sites.values()]
    of.score("val")
    of.gallery()
    assert of.digests() == before
    assert checkpoint.tree_digest({name: site.slot.optimizer_state() for name, site in of.sites.items()}) == optimizers
    assert [site.nets.training for site in of.sites.values()] == training
    assert all(site.received is None for site in of.sites.values())


@dataclass
class Labelled(Method):
    """A site serves the number that the server sends it, plus what it adds in `personalise`."""

    def download(self, server: Server, name: str) -> Message:
        return Message(super().download(server, name), level={"ixi": 0.25, "oasis": -0.5}[name])

    def receive(self, site: SiteState, message: Message) -> None:
        super().receive(site, message)
        site.memory["level"] = float(message["level"])

    def personalise(self, site: SiteState) -> None:
        site.memory["level"] = float(site.memory["level"]) + 0.125

    def synthesise(self, site: SiteState, batch: Batch) -> Tensor:
        assert not site.nets.training
        assert not torch.is_grad_enabled()
        return torch.full_like(batch.source, float(site.memory["level"]))


def test_every_site_serves_what_it_downloads_receives_and_adapts() -> None:
    both = federation(("ixi", "oasis"))
    of = trainer(Labelled(), sites=both)
    pictures = of.gallery()
    assert sorted(pictures) == ["ixi/T1->T2", "ixi/T2->PD", "oasis/T1->T2", "oasis/T2->FLAIR"]
    for cell, images in pictures.items():
        level = {"ixi": 0.375, "oasis": -0.375}[cell.partition("/")[0]]
        assert np.unique(images["prediction"]).tolist() == [round((level + 1) * 127.5)]
    rows = of.score("test")
    for row in rows:
        name, task = str(row["site"]), Task.parse(str(row["task"]))
        data = both.sites[name]
        [subject] = [s for s in data.of("test") if s.name == row["subject"]]
        targets = data.images[subject.slices, data.contrasts.index(task.target)].astype(np.float64)
        assert row["mae"] == pytest.approx(np.abs(targets - {"ixi": 0.375, "oasis": -0.375}[name]).mean() / 2, abs=1e-6)
    assert len(rows) == 2 * 2 * 2  # sites, tasks, subjects


def test_pictures_are_the_middle_slices_of_the_first_test_subjects() -> None:
    both = federation(("ixi", "oasis"), slices=3)
    of = trainer(Method(), sites=both)
    images = of.gallery()["ixi/T2->PD"]
    middle = [subject.slices.start + 1 for subject in both.sites["ixi"].of("test")]
    for name, contrast in (("source", "T2"), ("target", "PD")):
        expected = both.sites["ixi"].images[middle, both.sites["ixi"].contrasts.index(contrast)].astype(np.float32)
        assert images[name].dtype == np.uint8
        np.testing.assert_array_equal(images[name], np.round((expected + 1) * np.float32(127.5)).astype(np.uint8))


def test_pooled_training_is_scored_on_every_real_site() -> None:
    of = trainer(METHODS["pooled"](), sites=("ixi", "oasis"))
    assert list(of.sites) == ["ixi+oasis"]
    rows = of.score("val")
    assert {(row["site"], row["task"]) for row in rows} == {
        ("ixi", "T1->T2"),
        ("ixi", "T2->PD"),
        ("oasis", "T1->T2"),
        ("oasis", "T2->FLAIR"),
    }


@dataclass
class Samples(FedAvg):
    """Its images are noise."""

    def synthesise(self, site: SiteState, batch: Batch) -> Tensor:
        return torch.empty_like(batch.target).normal_(generator=site.slot.noise)


@pytest.mark.parametrize("case", ["method", "network"])
def test_noise_is_drawn_for_each_slice_alone(case: str) -> None:
    """An image does not depend on which slices share its batch, nor on what was asked before."""
    network = MMGANUNet(width=4, pools=1, fill=Fill.noise, discriminator_width=4, discriminator_layers=1)
    of = trainer(*((Samples(),) if case == "method" else (FedAvg(), network)), rounds=1)
    site = of.sites["ixi"]
    feed, task = site.feeds["ixi"], site.tasks[0]
    rows = feed.rows["test"][:3]
    with torch.no_grad(), evaluate.serving(of.method, of.server_party.download(site.name), site):
        together = site.answer(feed.batch(task, rows))
        alone = torch.cat([site.answer(feed.batch(task, rows[k : k + 1])) for k in (2, 0, 1)])[[1, 2, 0]]
        other = site.answer(feed.batch(site.tasks[1], rows))
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert all((together[k] - together[0]).abs().max() > 0.01 for k in (1, 2))
    assert (together - other).abs().max() > 0.01
