"""Figures for a paper: colours that everybody can tell apart, sizes of a journal, bytes that depend on the runs alone."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from support import finished, stores
from support.stores import fill

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.leaderboard.cross_site import cross_site_means
from fedsynth.benchmarks.leaderboard.newcomers import adaptation_stages
from fedsynth.benchmarks.records.finished import FinishedRun, finished_runs
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.report.plots.boxplots import draw_boxplots, subject_scores
from fedsynth.benchmarks.report.plots.by_train_size import draw_by_train_size
from fedsynth.benchmarks.report.plots.critical_difference import draw_critical_difference
from fedsynth.benchmarks.report.plots.curves import draw_curves
from fedsynth.benchmarks.report.plots.heatmap import draw_heatmap
from fedsynth.benchmarks.report.plots.pareto import draw_pareto, pareto_front
from fedsynth.benchmarks.report.plots.plotted_row import PlottedRow, plotted_rows
from fedsynth.benchmarks.report.plots.style import COLOURS, FORMATS, WIDTHS, figure_bytes, line_styles, style
from fedsynth.benchmarks.stats.ranks import Ranks, ranks
from fedsynth.benchmarks.tables.ranking import Ranking
from fedsynth.benchmarks.tables.table import Table, tables


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[PlottedRow]:
    """Three methods with two seeds."""
    store = Store(tmp_path_factory.mktemp("store"))
    fill(store, methods=3, scenarios=1, seeds=2, rounds=8, probes=False)
    (table,) = tables(finished_runs(store))
    return plotted_rows(table)


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Five methods, which are more than fit side by side, with three seeds, scored across sites and at a newcomer."""
    store = Store(tmp_path_factory.mktemp("probed"))
    fill(store, methods=5, scenarios=1, seeds=3, rounds=3)
    (table,) = tables(finished_runs(store))
    return table


def points(rows: list[PlottedRow]) -> dict[str, tuple[float, float]]:
    return {row.label: (1e9 * number, 20.0 + number % 2) for number, row in enumerate(rows)}


def ranking(cells: int = 6, methods: int = 4) -> Ranking:
    """Methods in order of their mean rank, over tables in which the best two change places."""
    scores = np.arange(methods, 0, -1) + np.zeros((cells, 1))
    scores[::3, :2] = scores[::3, 1::-1]
    names = [f"method{number}" for number in range(methods)]
    blocks = [(f"scenario{number}", "phantom") for number in range(cells)]
    return Ranking(tuple(names), tuple(blocks), ranks(scores, blocks, names))


@pytest.mark.parametrize("columns", WIDTHS)
def test_every_figure_is_as_wide_as_the_journals_columns_and_nothing_is_cut_off(
    rows: list[PlottedRow], probed: Table, columns: int
) -> None:
    long = [PlottedRow(f"{row.label} with_an_option=0.001/network", row.runs) for row in rows]
    made = [draw_curves(long, columns), draw_boxplots(long, columns), draw_pareto(long, points(long), columns)]
    made += [draw_heatmap(probed, columns), draw_critical_difference(ranking(), columns)]
    made += [draw_by_train_size(list(adaptation_stages(probed).items()), columns)]
    for figure in made:
        assert figure.get_figwidth() == WIDTHS[columns]
        assert inside(figure)


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_file_is_as_wide_as_its_figure(rows: list[PlottedRow], columns: int) -> None:
    media = re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", figure_bytes(draw_boxplots(rows, columns), "pdf"))
    assert media is not None
    assert float(media[1]) == pytest.approx(72 * WIDTHS[columns])


def test_a_map_a_method_of_the_model_of_each_site_at_each_site(probed: Table) -> None:
    sites = ["brats", "ixi", "midas"]
    maps = [axes for axes in draw_heatmap(probed, 2).axes if axes.get_title()]
    assert [axes.get_title() for axes in maps] == [row.method for row in probed.rows]
    for axes, row in zip(maps, probed.rows, strict=True):
        own = cross_site_means(row, probed, sites)
        shown = np.asarray(axes.collections[0].get_array()).reshape(3, 3)
        assert shown.tolist() == [[own[home, site] for site in sites] for home in sites]
    assert [label.get_text() for label in maps[0].get_yticklabels()] == sites
    assert len({axes.collections[0].get_clim() for axes in maps}) == 1  # one scale


def test_scores_and_gains_by_the_number_of_subjects(probed: Table) -> None:
    found = adaptation_stages(probed)
    scores, gains = draw_by_train_size(list(found.items()), 2).axes
    assert [label.get_text() for label in scores.get_xticklabels()] == ["none", "1", "2", "4", "8"]
    for line, row in zip(scores.lines, found[8].rows, strict=True):
        values = {count: next(own for own in table.rows if own.method == row.method) for count, table in found.items()}
        sent = [place for place, own in enumerate(values.values()) if "psnr" in own.scores]
        assert (
            list(np.asarray(line.get_xdata())) == sent == ([1, 2, 3, 4] if row.method == "local" else [0, 1, 2, 3, 4])
        )
        assert np.asarray(line.get_ydata())[-1] == row.scores["psnr"].mean
        gain = row.statistics.gain if row.statistics else None
        assert (gain is None) == (row.method == "local")
        if gain:
            bars = [own for own in gains.containers if np.isclose(own[0].get_ydata()[-1], gain.comparison.difference)]
            low, high = bars[0][2][0].get_segments()[-1][:, 1]
            assert (high - low) / 2 == pytest.approx(gain.comparison.margin)


def inside(figure: Figure) -> bool:
    """Whether everything that is drawn lies within the figure, to 0.5 % of its width."""
    with style():
        figure.draw_without_rendering()
    box, room = figure.get_tightbbox(), 0.005 * figure.get_figwidth()
    return bool(
        box.x0 > -room
        and box.y0 > -room
        and box.x1 < figure.get_figwidth() + room
        and box.y1 < figure.get_figheight() + room
    )


@pytest.mark.parametrize("format", FORMATS)
def test_a_figure_made_again_is_the_same_file(rows: list[PlottedRow], format: str) -> None:
    first, second = (figure_bytes(draw_curves(rows, 2), format) for _ in range(2))
    assert first == second
    assert not re.search(rb"20\d\d-\d\d-\d\dT|D:20\d\d", first)


def test_fonts_are_embedded_as_outlines_that_journals_take(rows: list[PlottedRow]) -> None:
    pdf = figure_bytes(draw_curves(rows, 1), "pdf")
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    streams = [
        zlib.decompress(part) for part in re.findall(rb"FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", pdf, re.S)
    ]
    assert any(b" Tf" in stream for stream in streams)  # text stays text
    assert b"<text" not in figure_bytes(draw_curves(rows, 1), "svg")  # and is outlines where a reader may lack the font


def test_figures_know_nothing_of_the_readers_settings_and_leave_them_alone(rows: list[PlottedRow]) -> None:
    plain = figure_bytes(draw_curves(rows, 1))
    with plt.rc_context({"axes.facecolor": "red", "font.size": 30, "savefig.bbox": "tight", "lines.linewidth": 9}):
        before = dict(plt.rcParams)
        assert figure_bytes(draw_curves(rows, 1)) == plain
        assert dict(plt.rcParams) == before
    assert plt.get_fignums() == []


def test_curves_are_over_rounds_bytes_and_seconds(rows: list[PlottedRow]) -> None:
    labels = [axes.get_xlabel() for axes in draw_curves(rows, 2).axes]
    assert labels == ["round", "MB sent by all sites", "minutes of training, all sites"]
    (axes,) = draw_curves(rows, 1).axes
    assert [len(line.get_xdata()) for line in axes.lines] == [8, 8, 8]
    assert len(axes.collections) == 3  # a band each


def test_boxes_are_of_a_subjects_mean_over_tasks_and_seeds(tmp_path: Path) -> None:
    store = Store(tmp_path)
    scores = {("ixi", "T1->T2"): [20.0, 24.0], ("oasis", "T1->T2"): [10.0, 12.0], ("oasis", "T2->FLAIR"): [14.0, 18.0]}
    for seed in (0, 1):
        finished.finish(
            store, finished.identity(seed=seed), {place: [s + seed for s in own] for place, own in scores.items()}
        )
    runs = tuple(finished_runs(store))
    found = subject_scores([PlottedRow("fedavg", runs)], "selected")
    assert found.values.tolist() == [
        ["fedavg", "ixi", "test000", 20.5],
        ["fedavg", "ixi", "test001", 24.5],
        ["fedavg", "oasis", "test000", 12.5],
        ["fedavg", "oasis", "test001", 15.5],
    ]
    assert [axes.get_title() for axes in draw_boxplots([PlottedRow("fedavg", runs)], 2).axes] == ["ixi", "oasis"]


def test_the_front_has_what_no_other_beats_with_as_few_bytes() -> None:
    cloud = [(0.0, 20.0), (3.0, 22.0), (3.0, 21.0), (5.0, 21.5), (9.0, 23.0), (9.0, 23.0)]
    assert pareto_front(cloud) == [(0, 20), (3, 22), (9, 23)]


def test_rows_that_send_nothing_stand_at_zero(rows: list[PlottedRow]) -> None:
    (axes,) = draw_pareto(rows, points(rows), 1).axes
    figure_bytes(axes.figure)
    assert axes.get_xticklabels()[0].get_text() == "0"
    assert axes.lines[0].get_xdata()[0] == axes.get_xticks()[0]


def test_bars_join_ranks_closer_than_the_critical_difference() -> None:
    mean = np.array([1.0, 1.5, 3.0, 3.9, 4.0])
    found = Ranking(tuple("abcde"), (), Ranks(mean, mean, mean, 9.0, 0.01, 1.0, np.ones((5, 5))))
    assert found.cliques() == [(0, 1), (2, 4)]
    bars = [line for line in draw_critical_difference(found, 1).axes[0].lines if line.get_linewidth() > 2]
    assert len(bars) == 2
    unsure = Ranking(tuple("abcde"), (), Ranks(mean, mean, mean, 1.0, 0.5, 1.0, np.ones((5, 5))))
    assert not [line for line in draw_critical_difference(unsure, 1).axes[0].lines if line.get_linewidth() > 2]


def test_a_method_keeps_its_colour_and_every_row_has_a_look_of_its_own(tmp_path: Path) -> None:
    methods = [f"method{number:02d}" for number in range(3 * len(COLOURS))]
    runs = {name: FinishedRun(finished.record(finished.identity(method={"name": name})), tmp_path) for name in methods}
    rows = [PlottedRow(f"{name} {number}", (runs[name],)) for number in range(2) for name in methods]
    looks = [(look["color"], look["marker"], look["dashes"]) for look in line_styles(rows)]
    assert len(set(looks)) == len(rows)
    turned = [look["color"] for look in line_styles(rows[::-1])]
    assert turned[::-1] == [colour for colour, _, _ in looks]


def test_colours_differ_in_brightness_or_hue_for_the_colour_blind() -> None:
    """Machado et al. 2009, severity 1: every pair stays apart for deuteranopes and protanopes, and from the white ground."""
    deutan = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    protan = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    colours = [[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in (*COLOURS, "#FFFFFF")]
    linear = np.where(
        np.array(colours) <= 0.04045, np.array(colours) / 12.92, ((np.array(colours) + 0.055) / 1.055) ** 2.4
    )
    for vision in (deutan, protan):
        seen = np.clip(linear @ np.array(vision).T, 0, 1) ** (1 / 2.2)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=2) + 9 * np.eye(len(seen))
        assert apart.min() > 0.15


def test_the_verb_writes_every_figure_in_every_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "TASKS", {"brats": ["FLAIR->T2"], "ixi": ["T1->T2"], "oasis": ["T1->T2"]})
    fill(Store(tmp_path), methods=2, scenarios=1, seeds=1, rounds=3)
    assert main(["figures", "--results", str(tmp_path), "--format", "pdf,svg", "--columns", "1"]) == 0
    printed = capsys.readouterr()
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    kinds = ["boxplots", "curves", "pareto", "across-sites", "newcomers", "gallery-ixi-T1-to-T2"]
    assert {f"scenario0-on-phantom-{kind}.{format}" for kind in kinds for format in ("pdf", "svg")} <= names
    assert f"wrote {len(names)} figures" in printed.out
    assert "no critical-difference diagram: 2 rows are in all of 1 ranked tables" in printed.err


def test_an_unknown_format_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", "--results", str(tmp_path), "--format", "pdf,jpeg"]) == 2
    assert "no format 'jpeg'; there are pdf, svg, png" in capsys.readouterr().err


def test_without_runs_it_says_how_to_make_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", "--results", str(tmp_path)]) == 1
    assert "no finished run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
