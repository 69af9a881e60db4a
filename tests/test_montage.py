"""Montages: every pixel of an image is where it should be, errors share one scale, missing images say why."""

from __future__ import annotations

import io
from pathlib import Path

import finished
import matplotlib
import numpy as np
import pytest
from PIL import Image

from fedsynth.benchmarks.figures import Entry, to_png
from fedsynth.benchmarks.montage import GAP, LINE, STEP, TILE, montage, psnr
from fedsynth.benchmarks.table import Finished

PLACE = "ixi/T1->T2"
ZOOM = 3  # of a slice of 64 pixels
STREAM = np.random.default_rng(0)
SOURCE, TARGET, FAR = STREAM.integers(0, 256, (3, 1, 64, 64), dtype=np.uint8)
CLOSE = TARGET // 2 + 64  # errors of at most a quarter


def entry(label: str, prediction: np.ndarray | None, status: str = "done") -> Entry:
    record = finished.record(finished.identity(), status=status)
    gallery = {} if prediction is None else {PLACE: {"source": SOURCE, "target": TARGET, "prediction": prediction}}
    return Entry(label, (Finished(record, Path("unused")),), gallery)


def texts(entries: list[Entry]) -> list[str]:
    return [text.get_text() for text in montage(entries, PLACE).axes[0].texts]


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Red, green and blue of the montage of two rows, one of them with a name in two lines."""
    figure = montage([entry("fedavg", CLOSE), entry("pflsynth, personalised", FAR)], PLACE)
    return np.array(Image.open(io.BytesIO(to_png(figure))).convert("RGB"))


def tile(pixels: np.ndarray, column: int, row: int) -> np.ndarray:
    """The pixels of a tile, `[H, W, RGB]` as integers that can be subtracted."""
    top, left = GAP + 2 * LINE + row * (TILE + GAP), column * (TILE + GAP)
    return pixels[top : top + TILE, left : left + TILE].astype(int)


def enlarged(image: np.ndarray) -> np.ndarray:
    """A slice as it is drawn, `[H, W]` in 256 grey values to RGB."""
    return np.repeat(np.kron(image, np.ones((ZOOM, ZOOM), np.uint8))[..., None], 3, axis=2)


def test_images_are_drawn_pixel_by_pixel(pixels: np.ndarray) -> None:
    for column, image in enumerate((SOURCE, CLOSE, FAR, TARGET)):
        assert np.abs(tile(pixels, column, 0) - enlarged(image[0])).max() <= 1  # of 255, as matplotlib rounds


def test_errors_of_all_rows_share_a_scale_that_ends_at_their_995th_permille(pixels: np.ndarray) -> None:
    errors = [np.abs(image[0] / 255 - TARGET[0] / 255) for image in (CLOSE, FAR)]
    end = np.ceil(np.percentile(errors, 99.5) / STEP) * STEP
    for column, error in enumerate(errors, start=1):
        colours = matplotlib.colormaps["magma"](np.minimum(error / end, 1), bytes=True)[..., :3]
        expected = np.kron(colours, np.ones((ZOOM, ZOOM, 1), np.uint8)).astype(int)
        assert np.abs(tile(pixels, column, 1) - expected).max() <= 4  # a neighbouring colour of the 256


def test_the_score_below_an_error_is_the_psnr_of_the_slice() -> None:
    target = np.full((1, 64, 64), 100, np.uint8)
    assert psnr(target + 51, target) == pytest.approx(-20 * np.log10(0.2))  # 51 of 255 grey values everywhere
    assert psnr(target, target) == 60
    assert f"{psnr(CLOSE[0], TARGET[0]):.1f} dB" in texts([entry("fedavg", CLOSE)])


def test_what_has_no_image_says_why() -> None:
    shown = texts([entry("a", CLOSE), entry("b", None, "diverged"), entry("c", None)])
    assert shown[-4:] == ["diverged", "b", "no image", "c"]


def test_many_rows_go_on_below_with_source_and_target_again() -> None:
    labels = [f"method{number}" for number in range(11)]
    shown = texts([entry(label, CLOSE) for label in labels])
    assert [text for text in shown if text in labels] == labels
    assert shown.count("source T1") == shown.count("target T2") == 2


def test_a_wide_slice_keeps_its_shape() -> None:
    wide = np.zeros((1, 32, 64), np.uint8)
    record = finished.record(finished.identity())
    images = {PLACE: {"source": wide, "target": wide, "prediction": wide}}
    picture = montage([Entry("fedavg", (Finished(record, Path("unused")),), images)], PLACE).axes[0].images[0]
    left, right, bottom, top = picture.get_extent()
    assert (right - left, bottom - top) == (64 * ZOOM, 32 * ZOOM)
