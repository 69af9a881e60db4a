"""Galleries: every image is where it should be, errors share one scale, missing images say why."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support import finished

from fedsynth.benchmarks.records.finished import FinishedRun
from fedsynth.benchmarks.report.plots.images.gallery import STEP, draw_gallery, error_scale_end, slice_psnr
from fedsynth.benchmarks.report.plots.plotted_row import GalleryError, PlottedRow, read_gallery
from fedsynth.benchmarks.report.plots.style import WIDTHS, figure_bytes
from fedsynth.benchmarks.running.training.execute import save_gallery

SITE_TASK = "ixi/T1->T2"
STREAM = np.random.default_rng(0)
SOURCE, TARGET, FAR = STREAM.integers(0, 256, (3, 2, 64, 64), dtype=np.uint8)
CLOSE = TARGET // 2 + 64  # errors of at most a quarter


def plotted(label: str, prediction: np.ndarray | None, status: str = "done", below: bool = False) -> PlottedRow:
    record = finished.record(finished.identity(), status=status, below_floor=below)
    gallery = {} if prediction is None else {SITE_TASK: {"source": SOURCE, "target": TARGET, "prediction": prediction}}
    return PlottedRow(label, (FinishedRun(record, Path("unused")),), gallery)


def texts(rows: list[PlottedRow], columns: int = 2) -> list[str]:
    return [text.get_text() for text in draw_gallery(rows, SITE_TASK, columns).axes[0].texts]


@pytest.mark.parametrize("columns", WIDTHS)
def test_every_image_and_its_error_is_drawn_as_it_is(columns: int) -> None:
    figure = draw_gallery([plotted("fedavg", CLOSE), plotted("pflsynth", FAR)], SITE_TASK, columns, subject=1)
    source, target, close, close_error, far, far_error = (image.get_array() for image in figure.axes[0].images)
    for shown, wanted in ((source, SOURCE), (target, TARGET), (close, CLOSE), (far, FAR)):
        assert (shown == wanted[1]).all()
    for shown, output in ((close_error, CLOSE), (far_error, FAR)):
        np.testing.assert_array_equal(shown, np.abs(output[1] / 255 - TARGET[1] / 255))
    assert figure.get_figwidth() == WIDTHS[columns]


def test_tiles_do_not_overlap_and_lie_within_the_figure() -> None:
    figure = draw_gallery([plotted(f"method{number}", CLOSE) for number in range(11)], SITE_TASK, 1)
    axes = figure.axes[0]
    boxes = np.array(
        [sorted(extent[:2]) + sorted(extent[2:]) for extent in (image.get_extent() for image in axes.images)]
    )
    assert boxes[:, :2].min() >= 0
    assert boxes[:, 1].max() <= figure.get_figwidth() + 1e-9
    assert boxes[:, 3].max() <= figure.get_figheight()
    for number, (left, right, top, bottom) in enumerate(boxes):
        others = np.delete(boxes, number, 0)
        apart = (others[:, 1] <= left) | (others[:, 0] >= right) | (others[:, 3] <= top) | (others[:, 2] >= bottom)
        assert apart.all()


def test_errors_of_all_rows_share_a_scale_that_ends_at_their_995th_permille() -> None:
    figure = draw_gallery([plotted("fedavg", CLOSE), plotted("pflsynth", FAR)], SITE_TASK, 2)
    errors = [np.abs(image[0] / 255 - TARGET[0] / 255) for image in (CLOSE, FAR)]
    end = np.ceil(np.percentile(errors, 99.5) / STEP) * STEP
    assert error_scale_end([CLOSE[0], FAR[0]], TARGET[0]) == pytest.approx(end)
    limits = [image.get_clim() for image in figure.axes[0].images]
    assert limits[2::2] == [(0, 255), (0, 255)]
    assert limits[3::2] == [(0, pytest.approx(end))] * 2
    assert figure.axes[1].get_xlim() == (0, pytest.approx(end))


def test_the_score_below_an_error_is_the_psnr_of_the_slice() -> None:
    target = np.full((1, 64, 64), 100, np.uint8)
    assert slice_psnr(target + 51, target) == pytest.approx(-20 * np.log10(0.2))  # 51 of 255 grey values everywhere
    assert slice_psnr(target, target) == 60
    assert f"{slice_psnr(CLOSE[0], TARGET[0]):.1f} dB" in texts([plotted("fedavg", CLOSE)])


def test_what_has_no_image_says_why() -> None:
    shown = texts([plotted("a", CLOSE), plotted("b", None, "diverged"), plotted("c", None)])
    assert shown[-4:] == ["diverged", "b", "no image", "c"]


def test_what_ended_below_the_floor_is_shown_and_marked() -> None:
    shown = " ".join(texts([plotted("a", CLOSE), plotted("b", FAR, below=True)])).replace("\n", " ")
    assert "b (below floor)" in shown
    assert "a (" not in shown


def test_long_names_wrap_after_a_slash_and_many_rows_go_on_below() -> None:
    shown = texts(
        [plotted("pflsynth/personalised", CLOSE), *(plotted(f"m{number}", CLOSE) for number in range(9))], columns=1
    )
    assert "pflsynth/\npersonalised" in shown
    assert [text for text in shown if re.fullmatch(r"m\d", text)] == [f"m{number}" for number in range(9)]
    assert shown.count("source T1") == shown.count("target T2") == 1


def test_a_wide_slice_keeps_its_shape() -> None:
    wide = np.zeros((1, 32, 64), np.uint8)
    record = finished.record(finished.identity())
    images = {SITE_TASK: {"source": wide, "target": wide, "prediction": wide}}
    picture = (
        draw_gallery([PlottedRow("fedavg", (FinishedRun(record, Path("unused")),), images)], SITE_TASK, 1)
        .axes[0]
        .images[0]
    )
    left, right, bottom, top = picture.get_extent()
    assert abs(right - left) == pytest.approx(2 * abs(bottom - top))


def test_images_are_embedded_pixel_by_pixel() -> None:
    pdf = figure_bytes(draw_gallery([plotted("fedavg", CLOSE)], SITE_TASK, 1), "pdf")
    sizes = re.findall(rb"/Width (\d+)", pdf) + re.findall(rb"/Height (\d+)", pdf)
    assert sizes.count(b"64") >= 8  # source, target, output and error, neither blurred nor enlarged


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"brats/T1->T2/target": np.zeros((2, 4, 4), np.uint8)},
        {f"brats/T1->T2/{kind}": np.zeros((2, 4, 4)) for kind in ("source", "target", "prediction")},
        {"other": np.zeros(3)},
    ],
)
def test_images_that_no_run_wrote_are_refused_and_named(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "gallery.npz"
    np.savez(path, **arrays)
    if not arrays:
        path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(GalleryError, match=re.escape(f"{path}: ")):
        read_gallery(FinishedRun(finished.record(finished.identity()), tmp_path))


def test_images_of_another_run_are_refused_and_named(tmp_path: Path) -> None:
    images = dict.fromkeys(("source", "target", "prediction"), np.zeros((2, 4, 4), np.uint8))
    seal = save_gallery(tmp_path, SimpleNamespace(gallery={SITE_TASK: images}))
    ours, theirs = (finished.record(finished.identity(), gallery=own) for own in (seal, "0" * 64))
    assert set(read_gallery(FinishedRun(ours, tmp_path))) == {SITE_TASK}
    with pytest.raises(GalleryError, match=f"gallery.npz: not what {theirs.run} wrote; its record has another SHA-256"):
        read_gallery(FinishedRun(theirs, tmp_path))
