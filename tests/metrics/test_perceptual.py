"""Distances of features against scipy's matrix root and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg

from fedsynth.evaluation.metrics.perceptual import frechet_distance, perceptual_distance


def by_root(x: np.ndarray, y: np.ndarray) -> float:
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(first @ second).real
    return float(np.square(x.mean(0) - y.mean(0)).sum() + np.trace(first + second - 2 * root))


@pytest.mark.parametrize(("count", "other", "length"), [(50, 80, 6), (40, 40, 1 + 1), (200, 30, 20)])
def test_the_frechet_distance_is_scipys(count: int, other: int, length: int) -> None:
    rng = np.random.default_rng(count)
    x = rng.standard_normal((count, length)) @ rng.standard_normal((length, length))
    y = 0.3 + rng.standard_normal((other, length)) @ rng.standard_normal((length, length))
    assert frechet_distance(x, y) == pytest.approx(by_root(x, y), rel=1e-8)


def test_the_frechet_distance_of_fewer_slices_than_features() -> None:
    """Where scipy's root of a singular matrix is inexact: a rotation into more dimensions changes no distance."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 5)), 2 * rng.standard_normal((20, 5)) + 1
    turn = np.linalg.qr(rng.standard_normal((64, 64)))[0][:5]
    assert frechet_distance(x @ turn, y @ turn) == pytest.approx(by_root(x, y), rel=1e-8)


def test_the_frechet_distance_by_hand() -> None:
    """In one dimension (m - n)^2 + (s - t)^2."""
    x, y = np.array([[-1.0], [1.0]]), np.array([[1.0], [2.0], [3.0]])  # standard deviations of sqrt(2) and 1
    assert frechet_distance(x, y) == pytest.approx(4 + (np.sqrt(2) - 1) ** 2)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-12)


def test_the_perceptual_distance_is_numpys() -> None:
    rng = np.random.default_rng(0)
    x, y = ([rng.standard_normal((3, 4, 5, 6)), rng.standard_normal((3, 7, 2, 3))] for _ in range(2))
    expected = np.zeros(3)
    for a, b in zip(x, y, strict=True):
        a, b = (maps / np.sqrt((maps**2).sum(1, keepdims=True)) for maps in (a, b))
        expected += ((a - b) ** 2).sum(1).mean((1, 2))
    found = perceptual_distance(*([torch.tensor(maps) for maps in side] for side in (x, y)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_the_perceptual_distance_sees_directions_alone() -> None:
    maps = torch.rand(2, 3, 4, 4) + 0.1
    assert perceptual_distance([maps], [7 * maps]).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert perceptual_distance([maps], [-maps]).tolist() == pytest.approx([4, 4], abs=1e-5)
    nothing = torch.zeros(2, 3, 4, 4)  # features that are all zero have no direction, and no NaN either
    assert perceptual_distance([nothing], [nothing]).tolist() == [0, 0]
