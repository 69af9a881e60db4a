"""MS-SSIM, VIF and high-frequency NMSE against scipy and the libraries of the field; scores inside lesions worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, signal
from torch import Tensor

from fedsynth.evaluation.columns import metric_columns
from fedsynth.evaluation.metrics.hf_nmse import laplacian_of_gaussian
from fedsynth.evaluation.scores import scores
from fedsynth.registry import METRICS

DETAILS = ("hf_nmse", "ms_ssim", "vif")
LESION = ("psnr_lesion", "nmse_lesion", "mae_lesion", "lesion_contrast")


def details(prediction: Tensor, target: Tensor, mask: Tensor, lesions: Tensor | None = None) -> dict[str, Tensor]:
    found = scores(prediction, target, mask, lesions)
    return {name: value for name, value in found.items() if name in (*DETAILS, *LESION)}


def head(height: int = 64, width: int = 64, seed: int = 0) -> np.ndarray:
    """A bright textured ellipse on a background of exact zeros, in [0, 1]."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    noise = np.random.default_rng(seed).random((height, width))
    return np.where(x**2 + y**2 < 0.7, 0.6 + 0.2 * np.sin(9 * x) * np.cos(7 * y) + 0.05 * noise, 0)


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Prediction and target in [0, 1]."""
    rng = np.random.default_rng(0)
    brain, large, wide = head(), head(181, 192), head(97, 130)
    return {
        "noisy": (brain + 0.1 * rng.standard_normal(brain.shape), brain),
        "noisy, large": (large + 0.05 * rng.standard_normal(large.shape), large),
        "blurred, not square": (ndimage.gaussian_filter(wide, 2), wide),
        "smooth target": (large, ndimage.gaussian_filter(large, 9)),
        "near-identical": (brain + 1e-4 * rng.standard_normal(brain.shape), brain),
        "bright and flat": (0.95 + 0.001 * rng.random((64, 64)), 0.95 + 0.03 * rng.random((64, 64))),
        "flat prediction": (np.full_like(brain, 0.3), brain),
        "negative": (1 - brain, brain),
        "unrelated": (rng.random(large.shape), large),
    }


def images(*pairs: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions and targets, float32 [B, 1, H, W] in [-1, 1], and the foreground of the targets."""
    prediction, target = (torch.tensor(np.stack(part)[:, None] * 2 - 1).float() for part in zip(*pairs, strict=True))
    return prediction, target, target[:, 0] > -1


def unit(image: Tensor) -> np.ndarray:
    """What is scored of [1, 1, H, W]."""
    return np.clip((image[0, 0].numpy().astype(np.float64) + 1) / 2, 0, 1)


def window(size: int, sigma: float) -> np.ndarray:
    line = signal.windows.gaussian(size, sigma)
    return np.outer(line, line) / line.sum() ** 2


def moments(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Means, variances and covariance under every window inside."""
    seen = [signal.convolve2d(image, weights, "valid") for image in (x, y, x * x, y * y, x * y)]
    return seen[0], seen[1], seen[2] - seen[0] ** 2, seen[3] - seen[1] ** 2, seen[4] - seen[0] * seen[1]


def plain_ms_ssim(x: np.ndarray, y: np.ndarray) -> float:
    result, weights = 1.0, np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    weights = weights[: sum(min(x.shape) // 2**scale >= 11 for scale in range(5))]
    for scale, weight in enumerate(weights / weights.sum()):
        if scale:
            even = [image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2] for image in (x, y)]
            x, y = (i.reshape(i.shape[0] // 2, 2, i.shape[1] // 2, 2).mean((1, 3)) for i in even)
        mean_x, mean_y, variance_x, variance_y, covariance = moments(x, y, window(11, 1.5))
        similarity = (2 * covariance + 0.03**2) / (variance_x + variance_y + 0.03**2)
        if scale == len(weights) - 1:
            similarity *= (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
        result *= max(similarity.mean(), 0) ** weight
    return result


def plain_vif(x: np.ndarray, y: np.ndarray) -> float:
    x, y = 255 * x, 255 * y
    kept = there = 0.0
    for scale, size in enumerate((17, 9, 5, 3)):
        weights = window(size, size / 5)
        if scale:
            x, y = (signal.convolve2d(image, weights, "valid")[::2, ::2] for image in (x, y))
        _, _, variance_x, variance_y, covariance = moments(x, y, weights)
        flat = variance_y < 1e-10
        gain = np.where(flat, 0, np.maximum(covariance, 0) / (variance_y + 1e-10))
        noise = np.maximum(variance_x - gain * covariance, 1e-10) + 2
        kept += np.log10(1 + gain**2 * variance_y / noise).sum()
        there += np.log10(1 + np.where(flat, 0, variance_y) / 2).sum()
    return kept / there


def plain_hf_nmse(x: np.ndarray, y: np.ndarray) -> float:
    """With the window of MATLAB's fspecial('log', 15, 1.5)."""
    place = np.arange(-7, 8)
    square = place[:, None] ** 2 + place[None] ** 2
    kernel = np.exp(-square / (2 * 1.5**2))
    kernel = kernel / kernel.sum() * (square - 2 * 1.5**2) / 1.5**4
    error, energy = (signal.convolve2d(i, kernel - kernel.mean(), "valid") for i in (x - y, y))
    return float((error**2).sum() / (energy**2).sum())


@pytest.mark.parametrize("case", cases())
def test_equal_to_scipy(case: str) -> None:
    prediction, target, mask = images(cases()[case])
    found = {name: value.item() for name, value in details(prediction, target, mask).items()}
    x, y = unit(prediction), unit(target)
    assert found["ms_ssim"] == pytest.approx(plain_ms_ssim(x, y), abs=1e-4)
    assert found["vif"] == pytest.approx(plain_vif(x, y), abs=1e-4)
    assert found["hf_nmse"] == pytest.approx(plain_hf_nmse(x, y), rel=1e-4)


@pytest.mark.parametrize("case", cases())
def test_vif_is_that_of_sewar(case: str) -> None:
    vifp = pytest.importorskip("sewar.full_ref").vifp
    prediction, target, mask = images(cases()[case])
    expected = vifp(255 * unit(target), 255 * unit(prediction))
    assert details(prediction, target, mask)["vif"].item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("case", ["noisy, large", "smooth target", "unrelated"])
def test_ms_ssim_is_that_of_pytorch_msssim(case: str) -> None:
    """Of slices that its five scales fit; sides are cut to multiples of 16, since it pads odd ones."""
    library = pytest.importorskip("pytorch_msssim")
    prediction, target, mask = (image[..., :176, :192] for image in images(cases()[case]))
    x, y = (torch.tensor(unit(image))[None, None] for image in (prediction, target))
    expected = library.ms_ssim(x, y, data_range=1.0).item()
    assert details(prediction, target, mask)["ms_ssim"].item() == pytest.approx(expected, abs=1e-4)


def test_the_laplacian_is_scipys_inside_an_image() -> None:
    """scipy's window is wider and not made to sum to 0, which differs by a little."""
    image = head(128, 128)
    found = laplacian_of_gaussian(torch.tensor(image)[None])[0].numpy()
    expected = ndimage.gaussian_laplace(image, 1.5, truncate=7 / 1.5)[7:-7, 7:-7]
    scale = (found * expected).sum() / (expected**2).sum()
    np.testing.assert_allclose(found / scale, expected, atol=2e-3 * np.abs(expected).max())


def test_identical_slices_have_the_best_scores_and_blurred_ones_lose_their_detail() -> None:
    prediction, target, mask = images((head(), head()), (ndimage.gaussian_filter(head(), 3), head()))
    found = details(prediction, target, mask)
    assert [found[name][0].item() for name in ("hf_nmse", "ms_ssim", "vif")] == pytest.approx([0, 1, 1], abs=1e-5)
    assert found["hf_nmse"][1] > 0.5
    assert found["vif"][1] < 0.3


def test_more_contrast_is_more_than_all_information() -> None:
    target = 0.5 + 0.2 * (head() - 0.5)
    prediction, target, mask = images((0.5 + 2 * (target - 0.5), target))
    assert details(prediction, target, mask)["vif"] > 1


@pytest.mark.parametrize("size", [7, 11, 15, 41])
def test_what_does_not_fit_a_slice_is_not_scored(size: int) -> None:
    for side in (size - 1, size):
        prediction, target, _ = images((head(side, 64, seed=1), head(side, 64)))
        fitting = {name: METRICS[name]() for name in DETAILS}
        there = {name for name, value in scores(prediction, target, metrics=fitting).items() if value.isfinite()}
        assert there == {name for name, least in (("hf_nmse", 15), ("ms_ssim", 11), ("vif", 41)) if side >= least}


def test_a_flat_target_has_no_detail() -> None:
    prediction, target, mask = images((head(), np.zeros((64, 64))))
    found = details(prediction, target, mask)
    assert found["vif"].isnan()
    assert found["hf_nmse"].isnan()


def test_every_column_of_the_records_is_scored_and_no_other() -> None:
    prediction, target, mask = images((head(), head()))
    assert list(scores(prediction, target, mask, mask)) == list(metric_columns())


def test_a_batch_scores_as_its_slices_do_alone() -> None:
    prediction, target, mask = images(*(cases()[name] for name in ("noisy", "near-identical", "negative")))
    lesions = torch.zeros_like(mask)
    lesions[::2, 20:30, 20:30] = True
    together = details(prediction, target, mask, lesions)
    for i in range(3):
        alone = details(prediction[i : i + 1], target[i : i + 1], mask[i : i + 1], lesions[i : i + 1])
        for name, value in alone.items():
            torch.testing.assert_close(value[0], together[name][i], rtol=1e-5, atol=1e-5, equal_nan=True)


def test_a_prediction_that_is_not_finite_is_not_scored_as_if_it_were() -> None:
    prediction, target, mask = images(cases()["noisy"])
    prediction[0, 0, 25, 25] = math.nan
    lesions = torch.zeros_like(mask)
    lesions[:, 20:30, 20:30] = True
    assert all(value.isnan() for value in details(prediction, target, mask, lesions).values())


# --- lesions ---------------------------------------------------------------------------------------------------------


def drawn(inside: float, around: float = 0.4, size: int = 20) -> np.ndarray:
    """A square lesion of 4 x 4 pixels in tissue, which a rim of zeros surrounds."""
    image = np.zeros((size, size))
    image[2:-2, 2:-2] = around
    image[8:12, 8:12] = inside
    return image


def lesion(*pairs: tuple[np.ndarray, np.ndarray], pixels: int = 16) -> dict[str, list[float]]:
    prediction, target, mask = images(*pairs)
    lesions = torch.zeros_like(mask)
    lesions[:, 8:12, 8:12] = True
    lesions.flatten(1)[:, torch.nonzero(lesions[0].flatten())[pixels:, 0]] = False
    return {name: value.tolist() for name, value in details(prediction, target, mask, lesions).items()}


def test_scores_inside_a_lesion_by_hand() -> None:
    found = lesion((drawn(0.7, around=0.1), drawn(0.8)))
    assert found["psnr_lesion"] == pytest.approx([20], abs=1e-4)  # an error of 0.1
    assert found["nmse_lesion"] == pytest.approx([0.01 / 0.64], abs=1e-6)
    assert found["mae_lesion"] == pytest.approx([0.1], abs=1e-6)


@pytest.mark.parametrize(("inside", "expected"), [(0.8, 1.0), (0.64, 0.6), (0.96, 0.6), (0.4, 0.0), (0.2, -0.5)])
def test_the_contrast_of_a_lesion_by_hand(inside: float, expected: float) -> None:
    """As it is; 60 and 140 % of it; not drawn; the wrong way round."""
    assert lesion((drawn(inside), drawn(0.8)))["lesion_contrast"] == pytest.approx([expected], abs=1e-5)


def test_a_dark_lesion_counts_as_a_bright_one_does() -> None:
    assert lesion((drawn(0.3), drawn(0.2)))["lesion_contrast"] == pytest.approx([0.5], abs=1e-5)


def test_only_the_ring_inside_the_foreground_is_around_a_lesion() -> None:
    """Its 3 pixels reach from 5 to 14."""
    target, far, near, outside = drawn(0.8), drawn(0.8), drawn(0.8), drawn(0.8)
    far[15:, :] = far[:5, :] = 1
    near[14, 5:15] = 1
    found = lesion((far, target), (near, target))["lesion_contrast"]
    assert found[0] == pytest.approx(1, abs=1e-5)
    assert found[1] == pytest.approx(1 - 0.6 * 10 / (100 - 16) / 0.4, abs=1e-5)
    target[14, 5:15], outside[14, 5:15] = 0, 1
    assert lesion((outside, target))["lesion_contrast"] == pytest.approx([1], abs=1e-5)


def test_slices_without_enough_of_a_lesion_have_no_score_there() -> None:
    pair = (drawn(0.7), drawn(0.8))
    assert all(math.isfinite(lesion(pair)[name][0]) for name in LESION)
    assert all(math.isnan(lesion(pair, pixels=15)[name][0]) for name in LESION)
    prediction, target, mask = images(pair)
    assert not set(LESION) & set(scores(prediction, target, mask))  # of a site that knows of none


def test_a_lesion_that_the_target_hardly_shows_has_no_contrast_but_errors() -> None:
    found = lesion((drawn(0.8), drawn(0.44)))
    assert math.isnan(found["lesion_contrast"][0])
    assert math.isfinite(found["psnr_lesion"][0])
