"""Scores against scikit-image, hand-worked values, and the ways in which a score can be gamed or undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from fedsynth.evaluation.scores import scores


def _head(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A bright textured ellipse on a background of exact zeros, in [0, 1]."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.where(
        x**2 + y**2 < 0.7, 0.6 + 0.2 * np.sin(9 * x) * np.cos(7 * y) + 0.05 * rng.random((height, width)), 0
    )


def _cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Prediction and target, in [0, 1] or a little beyond."""
    rng = np.random.default_rng(0)
    head, wide, bright = _head(rng, 64, 64), _head(rng, 37, 90), 0.95 + 0.04 * rng.random((256, 256))
    return {
        "noisy": (head + 0.1 * rng.standard_normal(head.shape), head),
        "near-identical": (head + 1e-4 * rng.standard_normal(head.shape), head),
        "near-identical, bright, large": (bright + 1e-4 * rng.standard_normal(bright.shape), bright),
        "zero background": (head * 0.9, head),
        "not square": (np.clip(wide + 0.05 * rng.standard_normal(wide.shape), 0, 1), wide),
        "unrelated": (rng.random((64, 64)), head),
        "smallest": (rng.random((7, 7)), rng.random((7, 7))),
    }


def _images(*pairs: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions and targets as float32 [B, 1, H, W] in [-1, 1], and masks of where the target is not 0."""
    prediction, target = (
        torch.tensor(np.stack(images)[:, None] * 2 - 1).float() for images in zip(*pairs, strict=True)
    )
    return prediction, target, target[:, 0] > -1


def _unit(image: Tensor) -> np.ndarray:
    """What is scored of one image: float32 in [0, 1]."""
    return np.clip((image[0].numpy() + 1) / 2, 0, 1)


@pytest.mark.parametrize("case", _cases())
def test_equal_to_scikit_image(case: str) -> None:
    prediction, target, mask = _images(_cases()[case])
    found = {name: value.item() for name, value in scores(prediction, target, mask).items()}
    x, y, inside = _unit(prediction[0]), _unit(target[0]), mask[0].numpy()
    for kind in (np.float32, np.float64):  # scikit-image computes in the type that it is given
        truth, guess = y.astype(kind), x.astype(kind)
        mean, similarity = structural_similarity(truth, guess, data_range=1, full=True)
        assert found["ssim"] == pytest.approx(mean, abs=1e-6)
        valid = inside[3:-3, 3:-3]
        assert found["ssim_fg"] == pytest.approx(similarity[3:-3, 3:-3][valid].mean(), abs=1e-6)
        for suffix, where in (("", np.ones_like(inside)), ("_fg", inside)):
            a, b = truth[where], guess[where]
            assert found["psnr" + suffix] == pytest.approx(
                min(peak_signal_noise_ratio(a, b, data_range=1), 60), abs=1e-6
            )
            assert found["nmse" + suffix] == pytest.approx(normalized_root_mse(a, b) ** 2, abs=1e-6)
            assert found["mae" + suffix] == pytest.approx(np.abs(a - b).mean(dtype=np.float64), abs=1e-6)


def test_a_batch_scores_as_its_slices_do_alone_on_the_images_device() -> None:
    cases = _cases()
    prediction, target, mask = _images(cases["noisy"], cases["zero background"], cases["unrelated"])
    together = scores(prediction, target, mask)
    assert all(value.shape == (3,) and value.device == target.device for value in together.values())
    for i in range(3):
        alone = scores(prediction[i : i + 1], target[i : i + 1], mask[i : i + 1])
        for name, value in alone.items():
            torch.testing.assert_close(value[0], together[name][i], rtol=0, atol=1e-12)


def test_by_hand() -> None:
    target = torch.full((1, 1, 8, 8), 0.0)  # 0.5 on the [0, 1] scale
    prediction = torch.full((1, 1, 8, 8), 0.2)  # 0.6
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, 3:5, 3:5] = True
    prediction[0, 0, 4, 4] = 5.0  # clipped to 1
    found = {name: value.item() for name, value in scores(prediction, target, mask).items()}
    inside, everywhere = (3 * 0.01 + 0.25) / 4, (63 * 0.01 + 0.25) / 64
    for suffix, error, distance in (
        ("_fg", inside, (3 * 0.1 + 0.5) / 4),
        ("", everywhere, (63 * 0.1 + 0.5) / 64),
    ):
        assert found["psnr" + suffix] == pytest.approx(-10 * math.log10(error), abs=1e-5)
        assert found["nmse" + suffix] == pytest.approx(error / 0.25, abs=1e-6)
        assert found["mae" + suffix] == pytest.approx(distance, abs=1e-6)


def test_a_hot_pixel_in_the_prediction_lowers_the_psnr() -> None:
    prediction, target, mask = _images(_cases()["noisy"])
    before = scores(prediction, target, mask)
    for value in (1.0, 100.0):
        hot = prediction.clone()
        hot[0, 0, 0, 0] = value
        after = scores(hot, target, mask)
        assert after["psnr"] < before["psnr"]
        assert after["ssim"] < before["ssim"]
        assert after["psnr_fg"] == before["psnr_fg"]  # it lies in the background


def test_an_identical_slice_scores_the_cap() -> None:
    _, target, mask = _images(_cases()["noisy"])
    found = scores(target, target, mask)
    assert found["psnr"] == found["psnr_fg"] == 60
    assert found["ssim"].item() == found["ssim_fg"].item() == pytest.approx(1, abs=1e-12)
    assert found["nmse"] == found["mae"] == 0


def test_an_empty_foreground_has_no_scores_but_the_slice_has() -> None:
    prediction, target, mask = _images(_cases()["noisy"], _cases()["unrelated"])
    mask[0] = False
    found = scores(prediction, target, mask)
    assert all(torch.isnan(found[name][0]) for name in found if name.endswith("_fg"))
    assert all(torch.isfinite(found[name][0]) for name in found if not name.endswith("_fg"))
    assert all(torch.isfinite(value[1]) for value in found.values())


def test_a_foreground_that_the_window_never_reaches_has_no_ssim_alone() -> None:
    prediction, target, mask = _images(_cases()["noisy"])
    mask[:] = False
    mask[:, :3] = True
    found = scores(prediction, target, mask)
    assert torch.isnan(found["ssim_fg"])
    assert torch.isfinite(found["psnr_fg"])


def test_a_blank_target_has_no_nmse() -> None:
    prediction, target, mask = _images((np.full((8, 8), 0.1), np.zeros((8, 8))))
    found = scores(prediction, target, mask)
    assert torch.isnan(found["nmse"])
    assert found["mae"].item() == pytest.approx(0.1, abs=1e-6)


def test_a_prediction_that_is_not_finite_is_not_scored_as_if_it_were() -> None:
    prediction, target, mask = _images(_cases()["noisy"])
    prediction[0, 0, 30, 30] = math.nan
    assert all(torch.isnan(value) for value in scores(prediction, target, mask).values())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_images_are_scored_in_single_precision(kind: torch.dtype) -> None:
    prediction, target, mask = _images(_cases()["noisy"])
    found = scores(prediction.to(kind), target.to(kind), mask)
    expected = scores(prediction.to(kind).float(), target.to(kind).float(), mask)
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_scores_carry_no_gradient() -> None:
    prediction, target, mask = _images(_cases()["noisy"])
    assert not any(value.requires_grad for value in scores(prediction.requires_grad_(), target, mask).values())


def test_slices_that_do_not_fit_are_refused() -> None:
    small = torch.zeros(1, 1, 6, 9)
    with pytest.raises(ValueError, match=r"\(6, 9\) pixels are smaller than SSIM's window of 7x7"):
        scores(small, small, torch.ones(1, 6, 9, dtype=torch.bool))
    image = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"\(1, 8, 8\) do not fit"):
        scores(image, image, torch.ones(1, 8, 8, dtype=torch.bool))
