"""Batches: the same for every method of a seed, every slice once an epoch, and images as numpy and scipy make them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from support.federations import federation, options, resnet, site

from fedsynth.benchmarks.contract.toy import small
from fedsynth.federation import Federation, FederationError, Site, Task
from fedsynth.feed import Batch, Draw, Feed
from fedsynth.method import Method
from fedsynth.registry import METHODS, NETWORKS
from fedsynth.trainer import Trainer

CPU = torch.device("cpu")


def feed(name: str = "ixi", *, seed: int = 0, of: Federation | None = None, **given: Any) -> Feed:
    return Feed(of or federation(("ixi", "oasis")), name, options(**given), seed, CPU)


def plan(draws: list[Draw]) -> list[tuple[object, ...]]:
    """What a round's batches are, before their images are made."""
    return [
        (
            str(d.task),
            d.rows.tolist(),
            None if d.flip is None else d.flip.tolist(),
            None if d.crop is None else d.crop.tolist(),
        )
        for d in draws
    ]


def test_staged_slices_are_the_same_slices() -> None:
    given: dict[str, Any] = {"zoom": 1.1, "local_steps": 4}
    one, other = (Feed(federation(), "ixi", options(**given), 0, CPU, staged) for staged in (False, True))
    batches = [
        [draw.make() for round in (1, 2) for draw in of.train(round, second=True)]
        + of.draw(3, "train", "look", second=True)
        + [part.batch for part in of.score(of.tasks[0], "test")]
        for of in (one, other)
    ]
    for ours, theirs in zip(*batches, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours.tensors(), theirs.tensors(), strict=True))


# --- order -----------------------------------------------------------------------------------------------------------


def test_batches_are_a_pure_function_of_seed_site_and_round() -> None:
    augmented: dict[str, Any] = {"zoom": 1.1, "local_steps": 4}
    first = feed(**augmented)
    rounds = [plan(first.train(round)) for round in (1, 2, 3)]
    again = feed(**augmented)
    assert [plan(again.train(round)) for round in (3, 1, 2)] == [rounds[2], rounds[0], rounds[1]]  # asked in any order
    joined = feed(of=federation(("ixi", "brats", "midas")), **augmented)
    assert [plan(joined.train(round)) for round in (1, 2, 3)] == rounds  # other sites change nothing
    others = [feed(seed=1, **augmented).train(1), feed("oasis", **augmented).train(1)]
    for plans in (rounds, [rounds[0], *map(plan, others)]):
        for aspect in range(1, 4):  # slices, flips and crops, each by itself
            assert len({str([batch[aspect] for batch in found]) for found in plans}) == 3


@pytest.mark.parametrize(("steps", "batch"), [(3, 2), (1, 4), (5, 1), (2, 5), (1, 17)])
def test_every_slice_comes_once_before_any_comes_twice(steps: int, batch: int) -> None:
    of = feed(local_steps=steps, batch=batch)
    seen = [row for round in range(1, 13) for draw in of.train(round) for row in draw.rows.tolist()]
    assert len(seen) == 12 * steps * batch
    slices = sorted(of.rows["train"].tolist())
    assert len(slices) == of.samples == 6
    for start in range(0, len(seen) - 5, 6):  # epochs run on across rounds
        assert sorted(seen[start : start + 6]) == slices
    counts = Counter(seen)
    assert max(counts.values()) - min(counts.get(row, 0) for row in slices) <= 1


def test_epochs_differ_in_order() -> None:
    of = feed(local_steps=6, batch=1)
    assert len({tuple(row for d in of.train(round) for row in d.rows.tolist()) for round in range(1, 6)}) == 5


def test_a_site_with_fewer_slices_than_a_batch_fills_it_over_epochs() -> None:
    small = Federation({"ixi": site("ixi", train=1, slices=2)}, {"ixi": (Task("T1", "T2"),)})
    of = feed(of=small, batch=5, local_steps=2)
    rows = [draw.rows.tolist() for draw in of.train(1)]
    assert [len(batch) for batch in rows] == [5, 5]
    assert set(rows[0]) == {0, 1}
    assert of.train(1)[0].make().source.shape == (5, 1, 16, 16)
    assert of.draw(3, "train", "look")[0].source.shape == (2, 1, 16, 16)  # a draw holds a slice at most once


@pytest.mark.parametrize(
    ("slices", "batch", "epochs", "steps"),
    [(6, 2, 1.0, 3), (7, 2, 1.0, 4), (6, 1, 0.5, 3), (5, 2, 0.1, 1), (100, 1, 0.07, 7), (6, 2, 2.0, 6), (1, 8, 1.0, 1)],
)
def test_local_epochs_are_steps(slices: int, batch: int, epochs: float, steps: int) -> None:
    assert options(local_steps=0, local_epochs=epochs, batch=batch).steps(slices) == steps


def test_fixed_local_steps_win_over_epochs() -> None:
    assert options(local_steps=3, local_epochs=10.0).steps(100) == 3


def test_tasks_are_drawn_evenly_and_only_the_sites_own() -> None:
    of = feed(local_steps=500)
    counts = Counter(str(draw.task) for draw in of.train(1))
    assert set(counts) == {"T1->T2", "T2->PD"}
    assert 200 < counts["T1->T2"] < 300  # 250 expected, standard deviation 11


@pytest.mark.slow
def test_every_method_sees_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Draw.make
    seen: list[tuple[str, str, str]] = []

    def record(self: Draw) -> Batch:
        batch = make(self)
        seen.append((self.feed.name, str(batch.task), str(batch.images.double().sum().item())))
        return batch

    monkeypatch.setattr(Draw, "make", record)
    found: dict[str, Counter[tuple[str, str, str]]] = {}
    for name, entry in METHODS.entries().items():
        seen.clear()
        Trainer(
            entry.cls(),
            small(NETWORKS[entry.cls.default_network()], entry.cls.needs_norm),
            federation(("ixi", "oasis")),
            options(zoom=1.1, validate_every=2),
            seed=3,
        ).round(1)
        found[name] = Counter(seen)  # pooled has them in another order
    for name, counts in found.items():  # those that learn from unpaired slices see others beside them
        assert counts == found["fedavg"] or (METHODS[name].second and counts > found["fedavg"]), name
    assert sum(found["fedavg"].values()) == 2 * 3  # sites x steps


# --- draws -----------------------------------------------------------------------------------------------------------


def test_a_draw_is_named_by_purpose_and_round_and_takes_nothing_from_training() -> None:
    of = feed(zoom=1.1)
    before = plan(of.train(1))

    def sums(*names: object, split: str = "train") -> list[float]:
        return [float(batch.images.sum()) for batch in of.draw(4, split, *names)]

    assert sums("look", 1) == sums("look", 1)
    assert len({str(sums(*names)) for names in (("look", 1), ("look", 2), ("adapt", 1))}) == 3
    assert plan(of.train(1)) == before


def test_a_draw_is_of_its_split_and_not_augmented() -> None:
    of = feed(zoom=1.2, batch=8)
    plain = {split: {of.images[row].float().sum().item() for row in rows} for split, rows in of.rows.items()}
    for split, size in (("train", 6), ("val", 2)):
        for batch in of.draw(3, split, "look"):
            assert {image.sum().item() for image in batch.images} == plain[split]
            assert len(batch.images) == size


# --- images ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_the_sites_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    both = federation(("ixi", "oasis"))
    of = feed(of=both, flip=False)
    for draw in of.train(1):
        batch, rows = draw.make(), draw.rows.numpy()
        source, target = (both.sites["ixi"].contrasts.index(contrast) for contrast in batch.task.contrasts)
        images = both.sites["ixi"].images[rows].astype(np.float32)
        np.testing.assert_array_equal(batch.source[:, 0].numpy(), images[:, source])
        np.testing.assert_array_equal(batch.target[:, 0].numpy(), images[:, target])
        np.testing.assert_array_equal(batch.code.numpy(), [both.code("ixi", batch.task)] * 2)
        assert batch.images.dtype == torch.float32
        assert of.images.dtype == torch.float16


def test_contrasts_that_a_site_lacks_are_minus_one() -> None:
    both = federation(("ixi", "oasis"), {"ixi": ("T1->T2",), "oasis": ("FLAIR->T2",)})
    whole = both.sites["ixi"]
    poor = Site("ixi", ("T2", "T1"), whole.images[:, [1, 0]], whole.masks, whole.subjects)
    of = feed(of=Federation({**both.sites, "ixi": poor}, both.tasks))
    batch = next(of.score(Task("T1", "T2"), "val")).batch
    assert both.contrasts == ("T1", "T2", "FLAIR")
    assert batch.present.tolist() == [1, 1, 0]
    assert batch.images[:, 2].unique().tolist() == [-1]
    rows = of.rows["val"]
    np.testing.assert_array_equal(batch.images[:, :2].numpy(), whole.images[rows, :2].astype(np.float32))


def test_a_flip_mirrors_left_and_right_exactly() -> None:
    of = feed(flip=True, local_steps=40)
    flips = []
    for draw in of.train(1):
        assert draw.flip is not None
        images = of.images[draw.rows].float().numpy()
        expected = np.where(draw.flip.numpy()[:, None, None, None], images[..., ::-1], images)
        np.testing.assert_array_equal(draw.make().images.numpy(), expected)
        flips += draw.flip.tolist()
    assert 20 < sum(flips) < 60  # 40 of 80 expected, standard deviation 4.5


def test_a_crop_is_the_window_of_the_enlarged_slice() -> None:
    """Pixel i of the crop lies at (i + 1/2) share + (c + 1 - share) n/2 - 1/2 of the slice, bilinear in between."""
    of = feed(flip=False, zoom=1.25, local_steps=5)
    n, share = 16, 1 / 1.25
    for draw in of.train(1):
        assert draw.crop is not None
        images, made = of.images[draw.rows].float().numpy(), draw.make().images.numpy()
        for image, crop, found in zip(images, draw.crop.numpy(), made, strict=True):
            centre_x, centre_y = crop[:, 2]
            assert abs(centre_x) <= 1 - share
            assert abs(centre_y) <= 1 - share
            rows, columns = (
                (np.arange(n) + 0.5) * share + (centre + 1 - share) * n / 2 - 0.5 for centre in (centre_y, centre_x)
            )
            grid = np.meshgrid(rows, columns, indexing="ij")
            for plane, expected in zip(found, image, strict=True):
                oracle = map_coordinates(expected, grid, order=1, mode="nearest")
                np.testing.assert_allclose(plane, oracle, atol=2e-5)


def test_a_crop_of_whole_pixels_is_resize_then_crop() -> None:
    # the reference enlarges and cuts at a whole pixel; here 16 -> 20, cut at row 3 and column 1
    of = feed(flip=False, zoom=1.25)
    size, share, (top, left) = 20, 1 / 1.25, (3, 1)
    centres = [(2 * offset + 16) / size - 1 for offset in (left, top)]
    crop = torch.tensor([[[share, 0, centres[0]], [0, share, centres[1]]]])
    found = of.make(Task("T1", "T2"), of.images, torch.tensor([0]), crop=crop).images
    enlarged = torch.nn.functional.interpolate(of.images[:1].float(), size=(size, size), mode="bilinear")
    torch.testing.assert_close(found, enlarged[..., top : top + 16, left : left + 16], atol=1e-5, rtol=0)


def test_crops_reach_every_corner_and_stay_in_range() -> None:
    of = feed(zoom=1.2, local_steps=300)
    centres = torch.cat([draw.crop[:, :, 2] for draw in of.train(1) if draw.crop is not None])
    limit = 1 - 1 / 1.2
    assert centres.abs().max() <= limit
    assert (centres.amin(0) < -0.9 * limit).all()
    assert (centres.amax(0) > 0.9 * limit).all()
    images = torch.stack([draw.make().images for draw in of.train(1)[:20]])
    assert images.abs().max() <= 1


def test_evaluation_shows_slices_as_they_are() -> None:
    both = federation(("ixi", "oasis"), test=11, slices=2)  # more slices than are scored at once
    of = feed(of=both, zoom=1.3, flip=True)
    parts = list(of.score(Task("T2", "PD"), "test"))
    rows = both.sites["ixi"].rows("test")
    assert len(parts) == 2
    np.testing.assert_array_equal(
        torch.cat([part.batch.images for part in parts]).numpy(), both.sites["ixi"].images[rows].astype(np.float32)
    )
    np.testing.assert_array_equal(torch.cat([part.masks for part in parts]).numpy(), both.sites["ixi"].masks[rows])
    names = [subject.name for subject in both.sites["ixi"].of("test") for _ in range(2)]
    assert [name for part in parts for name in part.subjects] == names


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5, -2.0])
def test_images_out_of_range_are_refused(value: float) -> None:
    good = federation(("ixi", "oasis"))
    images = good.sites["ixi"].images.copy()
    images[3, 1, 2, 2] = value
    spoiled = Federation({**good.sites, "ixi": replace(good.sites["ixi"], images=images)}, good.tasks)
    with pytest.raises(
        FederationError, match=r"site ixi: its images hold numbers that are not finite or not in \[-1, 1\]"
    ):
        Trainer(Method(), resnet(), spoiled, options(), seed=0)
