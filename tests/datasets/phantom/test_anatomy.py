"""The head: random fields against direct sums, solids worked out by hand, and the tissues of a brain."""

from __future__ import annotations

import numpy as np
import pytest

from fedsynth.datasets.phantom.anatomy import Anatomy
from fedsynth.datasets.phantom.fields import Fields, Folds, PixelGrid
from fedsynth.datasets.phantom.shapes import capsule, edge, ellipsoid, join
from fedsynth.datasets.phantom.streams import stream
from fedsynth.datasets.phantom.tissues import NAMES


def test_fields_are_the_sum_of_their_plane_waves() -> None:
    grid = PixelGrid.square(60, 12)
    made = Fields(stream("fields"), grid, {"a": 30, "b": 14}, count=6)
    rng = stream("fields")
    for name, wavelength in (("a", 30), ("b", 14)):
        direction = rng.standard_normal((6, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        k = direction * (2 * np.pi / wavelength * np.exp(0.2 * rng.standard_normal((6, 1))))
        phase = rng.uniform(0, 2 * np.pi, 6)
        y, x = np.meshgrid(grid.y, grid.x, indexing="ij")
        direct = np.sqrt(2 / 6) * np.cos(np.stack([x, y, np.full_like(x, 7.5)], -1) @ k.T + phase).sum(-1)
        np.testing.assert_allclose(made.at(7.5)[name], direct, atol=1e-5)


def test_fields_have_unit_variance() -> None:
    grid = PixelGrid.square(400, 24)
    values = [Fields(stream("unit", number), grid, {"a": 20}).at(number)["a"] for number in range(20)]
    assert np.mean(np.square(values)) == pytest.approx(1, rel=0.1)
    assert abs(np.mean(values)) < 0.05


def test_rows_run_from_front_to_back() -> None:
    grid = PixelGrid.square(100, 4)
    assert grid.pixel == 25
    assert grid.x.tolist() == [-37.5, -12.5, 12.5, 37.5]
    assert grid.y.tolist() == [37.5, 12.5, -12.5, -37.5]


def test_folds_measure_the_distance_to_their_sheets() -> None:
    folds = Folds(stream("folds"), 36, count=1)  # one wave: its sheets are parallel planes, half a wavelength apart
    k = folds.waves[0].astype(float)
    rng = np.random.default_rng(0)
    points = rng.uniform(-50, 50, (3, 9000)).astype(np.float32)  # more than one chunk
    phase = (k @ points + folds.phases[0]) / np.pi - 0.5
    true = np.abs(phase - np.round(phase)) * np.pi / np.linalg.norm(k)
    near = true < 1.0
    np.testing.assert_allclose(folds.distance(points)[near], true[near], rtol=0.15)
    assert (folds.distance(points)[true > 8] > 4).all()


def test_solids_are_those_worked_out_by_hand() -> None:
    points = np.array([[0, 0, 0], [3, 0, 0], [10, 0, 0], [0, 4, 0]], np.float32).T
    np.testing.assert_allclose(ellipsoid(points, (0, 0, 0), (3, 3, 3)), [-3, 0, 7, 1], atol=5e-3)
    np.testing.assert_allclose(ellipsoid(points[:, 1:], (0, 0, 0), (3, 4, 9)), [0, 7, 0], atol=5e-3)
    quarter = ellipsoid(points[:, 1:], (0, 0, 0), (4, 3, 9), turn=np.pi / 2)
    np.testing.assert_allclose(quarter, [0, 7, 0], atol=5e-3)
    np.testing.assert_allclose(capsule(points, (0, 0, 0), (5, 0, 0), 1, 2), [-1, -1.6, 3, 3], atol=1e-5)
    assert join(np.float32(1), np.float32(9), 3) == 1
    assert join(np.float32(1), np.float32(1), 3) == pytest.approx(0.25)
    np.testing.assert_allclose(edge(np.array([-100, -1, 0, 1, 100.0]), 1), [1, 0.7311, 0.5, 0.2689, 0], atol=1e-4)


def composition(age: float, tumour: bool = False, wmh: float = 0.0, people: int = 4) -> dict[str, float]:
    """Mean share of each tissue inside the brain's mask."""
    total = np.zeros(len(NAMES))
    for number in range(people):
        anatomy = Anatomy(stream("head", number), PixelGrid.square(208, 128), age, tumour, wmh)
        for z in np.linspace(-2, 46, 6):
            one = anatomy.at(z)
            total += (one.shares * (one.brain > 0.5)).sum((1, 2))
    return dict(zip(NAMES, total / total.sum(), strict=True))


def test_tissue_shares_are_those_of_a_brain() -> None:
    young = composition(35)
    assert 0.35 < young["wm"] < 0.48
    assert 0.34 < young["gm"] < 0.46
    assert 0.10 < young["csf"] < 0.20
    assert 0.008 < young["striatum"] < 0.04
    assert 0.004 < young["thalamus"] < 0.025
    assert 0.001 < young["pallidum"] < 0.012
    assert young["necrosis"] == young["tumour"] == young["oedema"] == young["wmh"] == 0
    old = composition(80)
    assert old["csf"] > 1.5 * young["csf"]
    assert old["gm"] < young["gm"]


def test_lesions_are_where_they_should_be() -> None:
    ill = composition(50, tumour=True, wmh=1.0)
    assert 0.02 < ill["necrosis"] + ill["tumour"] + ill["oedema"] < 0.25
    assert 0.002 < ill["wmh"] < 0.1
    assert composition(50, wmh=1.5)["wmh"] > 2 * composition(50, wmh=0.5)["wmh"] > 0


def test_shares_are_a_partition_of_the_head() -> None:
    one = Anatomy(stream("head"), PixelGrid.square(208, 96), 60, True, 1.0).at(12.0)
    assert one.shares.min() >= -1e-6
    np.testing.assert_allclose(one.shares.sum(0), one.head, atol=2e-3)
    assert (one.head >= one.brain - 1e-6).all()
    assert one.head[0].max() < 1e-3  # the head ends within the field of view
    assert one.texture.std((1, 2)) == pytest.approx([0.038, 0.031, 0.016], rel=0.4)
