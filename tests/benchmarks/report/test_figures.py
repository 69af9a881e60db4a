"""Figures for a paper: colours that everybody can tell apart, sizes of a journal, bytes that depend on the runs alone."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from support import finished, stores
from support.finished import fill_ranked
from support.stores import fill

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.leaderboard.cross_site import cross_site_means
from fedsynth.benchmarks.leaderboard.newcomers import adaptation_stages
from fedsynth.benchmarks.records.finished import FinishedRun, finished_runs
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.report.figures import table_figures
from fedsynth.benchmarks.report.plots.differences.critical_difference import draw_critical_difference
from fedsynth.benchmarks.report.plots.differences.forest import draw_forest
from fedsynth.benchmarks.report.plots.differences.improvement import draw_improvement
from fedsynth.benchmarks.report.plots.labels import fitting_size, wrap_label
from fedsynth.benchmarks.report.plots.plotted_row import PlottedRow, plotted_rows
from fedsynth.benchmarks.report.plots.reference_lines import line_scores
from fedsynth.benchmarks.report.plots.scores.boxplots import draw_boxplots, subject_scores
from fedsynth.benchmarks.report.plots.scores.by_train_size import draw_by_train_size
from fedsynth.benchmarks.report.plots.scores.curves import draw_curves, ticks_at
from fedsynth.benchmarks.report.plots.scores.heatmap import draw_heatmap
from fedsynth.benchmarks.report.plots.scores.pareto import draw_pareto, pareto_front
from fedsynth.benchmarks.report.plots.scores.placing import Point, place_names
from fedsynth.benchmarks.report.plots.style import COLOURS, FORMATS, WIDTHS, figure_bytes, line_styles, style
from fedsynth.benchmarks.stats.profiles import improvement
from fedsynth.benchmarks.stats.ranks import Ranks, ranks
from fedsynth.benchmarks.tables.ranking import Ranking
from fedsynth.benchmarks.tables.table import Table, tables


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[PlottedRow]:
    """Three methods with two seeds."""
    return plotted_rows(two_seeds(tmp_path_factory, methods=3, rounds=8))


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Twenty rows of three methods with long names, two of them with the same scores; one name is no formula."""
    table = two_seeds(tmp_path_factory, methods=3, rounds=16)
    named = [
        replace(table.rows[number % 3], method=f"{table.rows[number % 3].method} an_option=0.0{number:02d} $x_{{$")
        for number in range(20)
    ]
    return replace(table, rows=tuple(named))


def two_seeds(tmp_path_factory: pytest.TempPathFactory, methods: int, rounds: int) -> Table:
    store = Store(tmp_path_factory.mktemp("store"))
    fill(store, methods=methods, scenarios=1, seeds=2, rounds=rounds, probes=False)
    (table,) = tables(finished_runs(store))
    return table


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Five methods, which are more than fit side by side, with three seeds, scored across sites and at a newcomer."""
    store = Store(tmp_path_factory.mktemp("probed"))
    fill(store, methods=5, scenarios=1, seeds=3, rounds=3)
    (table,) = tables(finished_runs(store))
    return table


def ranking(cells: int = 6, methods: int = 4) -> Ranking:
    """Methods in order of their mean rank, over tables in which the best two change places."""
    scores = np.arange(methods, 0, -1) + np.zeros((cells, 1))
    scores[::3, :2] = scores[::3, 1::-1]
    names = [f"method{number}" for number in range(methods)]
    blocks = [(f"scenario{number}", "phantom") for number in range(cells)]
    return Ranking(tuple(names), tuple(blocks), ranks(scores, blocks, names))


@pytest.mark.slow
@pytest.mark.parametrize("columns", WIDTHS)
def test_every_figure_is_as_wide_as_the_journals_columns_and_nothing_is_cut_off(
    crowd: Table, probed: Table, columns: int
) -> None:
    made = dict(table_figures(probed, columns))
    assert {"curves", "boxplots", "pareto", "profiles", "forest", "improvement", "newcomers", "across-sites"} <= {*made}
    for draw in (draw_boxplots, draw_improvement, draw_forest):
        if figure := draw(crowd, columns):
            made[f"crowd {draw.__name__}"] = figure
    made["critical difference"] = draw_critical_difference(ranking(), columns)
    for kind, figure in made.items():
        assert figure.get_figwidth() == WIDTHS[columns]
        assert inside(figure), kind


@pytest.mark.parametrize("columns", WIDTHS)
def test_names_on_the_pareto_figure_hide_neither_each_other_nor_a_point(crowd: Table, columns: int) -> None:
    figure = draw_pareto(crowd, columns)
    with style():
        figure.draw_without_rendering()
    (axes,) = figure.axes
    names = [text for text in axes.texts if "an_option" in text.get_text()]
    assert {" ".join(text.get_text().split()) for text in names} == {row.method for row in crowd.rows}
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the line from a name to its marker
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
        assert axes.bbox.x0 <= box.x0
        assert box.x1 <= axes.bbox.x1 + 1
    for line in axes.lines:
        if line.get_linestyle() == "None":
            (point,) = line.get_transform().transform(line.get_xydata())
            assert not any(box.contains(*point) for box in boxes)


def test_a_name_does_not_touch_a_text_that_was_there() -> None:
    """Its best place, to the right of its point, ends half a pixel below that text."""
    (name,) = named_point()
    there, moved = named_point(at=(name.x0, name.y1 + 0.5))
    assert not there.padded(1).overlaps(moved)


def named_point(at: tuple[float, float] | None = None) -> list[Bbox]:
    """The boxes of a text at a place, if there is one, and of the name of a point in the middle of a figure."""
    figure = Figure(dpi=72)
    axes = figure.subplots()
    if at:
        axes.annotate("mean training image", at, xycoords="figure pixels", va="bottom")
    place_names(axes, [Point(0.5, 0.5, 0.5, 0.5, "fedrep", "black")])
    figure.draw_without_rendering()
    return [Text.get_window_extent(text) for text in axes.texts]


def test_the_pareto_figure_has_the_interval_of_every_score(probed: Table) -> None:
    (axes,) = draw_pareto(probed, 2).axes
    for bar, row in zip(axes.containers, probed.rows, strict=True):
        low, high = bar[2][0].get_segments()[0][:, 1]
        assert row.statistics is not None
        assert (low + high) / 2 == pytest.approx(row.scores["psnr"].mean)
        assert (high - low) / 2 == pytest.approx(row.statistics.margin)


def test_the_forest_plot_has_every_gain_with_its_interval(probed: Table) -> None:
    figure = draw_forest(probed, 2)
    assert figure is not None
    gains = {row.method: row.statistics.gain for row in probed.rows if row.statistics and row.statistics.gain}
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(gains)
    thick = [line.get_xdata() for line in axes.lines if line.get_linewidth() > 2]
    for (low, high), gain in zip(thick, gains.values(), strict=True):
        assert (low, high) == (gain.comparison.low, gain.comparison.high)


def test_a_thin_line_of_the_forest_plot_holds_together_with_all_others(tmp_path: Path) -> None:
    fill_ranked(Store(tmp_path), 1)
    table = min(tables(finished_runs(Store(tmp_path))), key=lambda table: table.record.identity["trainer"]["rounds"])
    figure = draw_forest(table, 2)
    assert figure is not None
    gains = [row.statistics.gain for row in table.rows if row.statistics and row.statistics.gain]
    thin = [tuple(line.get_xdata()) for line in figure.axes[0].lines if line.get_linewidth() == 0.7]
    assert thin == [(gain.low, gain.high) for gain in gains]


def test_the_probability_of_improvement_is_over_local_with_its_interval(probed: Table) -> None:
    figure = draw_improvement(probed, 2)
    assert figure is not None
    means = {row.method: row.matrix.design.site_task_means(row.matrix.values) for row in probed.rows if row.matrix}
    named = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert sorted([*named, "local"]) == sorted(means)
    for bar, name in zip(figure.axes[0].containers, named, strict=True):
        share, low, high = improvement(means[name], means["local"])
        assert bar[0].get_xdata()[0] == pytest.approx(float(share))
        assert bar[2][0].get_segments()[0][:, 0].tolist() == pytest.approx([float(low), float(high)])


def test_reference_lines_are_in_every_figure_whose_axis_is_a_score(probed: Table) -> None:
    """The floors of the made-up runs: copied source 11, mean training image 15.5, look-up table 18.25 dB."""
    assert line_scores(probed) == {"copied source": 11.0, "mean training image": 15.5, "look-up table": 18.25}
    made = dict(table_figures(probed, 2))
    for kind in ("curves", "boxplots", "pareto", "profiles"):
        (*_, panel) = [axes for axes in made[kind].axes if axes.lines]
        drawn = [line for line in panel.lines if len(set(line.get_xdata())) == 1 or len(set(line.get_ydata())) == 1]
        values = {float(value) for line in drawn for value in (line.get_xdata()[0], line.get_ydata()[0])}
        shown = {text.get_text() for legend in made[kind].legends for text in legend.get_texts()}
        for name, score in line_scores(probed).items():
            assert score in values or f"{name} {score:.4g}, off the axis" in shown


def test_panels_that_share_an_axis_have_the_same_lines(crowd: Table) -> None:
    """A line that is too far from the first panel is in none, however far the lines of others have stretched the axis."""
    rows = plotted_rows(crowd)
    axes = draw_curves(rows, {}, 2).axes[0]
    low, high = axes.get_ylim()
    near, far = high + 0.29 * (high - low), high + 0.35 * (high - low)
    for panel in draw_curves(rows, {"look-up table": near, "noise ceiling": far}, 2).axes[: len(rows)]:
        values = {float(line.get_ydata()[0]) for line in panel.lines if len(line.get_ydata()) == 2}
        assert near in values
        assert far not in values


def test_ticks_are_where_the_data_are() -> None:
    assert ticks_at([3, 6, 9, 12]) == [3, 6, 9, 12]
    assert ticks_at(range(3, 49, 3)) == [6, 12, 18, 24, 30, 36, 42, 48]
    assert ticks_at(range(1, 61)) == [10, 20, 30, 40, 50, 60]
    assert ticks_at([1, 2, 4, 8]) == [1, 2, 4, 8]


def test_many_rows_have_a_panel_each_with_the_others_faint_behind(crowd: Table) -> None:
    panels = [axes for axes in draw_curves(plotted_rows(crowd), {}, 2).axes if axes.get_title()]
    assert panels[0].get_xticks().tolist() == [2, 4, 6, 8, 10, 12, 14, 16]
    titles = [" ".join(panel.get_title().split()) for panel in panels]
    assert titles == [row.method for row in crowd.rows]
    for panel in panels:
        assert len([line for line in panel.lines if line.get_color() == "0.85"]) == 19
        assert len(panel.collections) == 1  # the band of its own row


def test_words_of_a_label_stay_whole() -> None:
    assert wrap_label("University_Hospital_of_Somewhere/site two", 0.5).split() == [
        "University_Hospital_of_Somewhere/",
        "site",
        "two",
    ]
    assert wrap_label("ixi", 0.5) == "ixi"
    assert wrap_label("lgfedavg share=0.338/resnet", 1.1) == "lgfedavg\nshare=0.338/resnet"
    assert fitting_size("University_Hospital_of_Somewhere", 0.5, 6.5) < 3
    assert fitting_size("ixi", 0.5, 6.5) == 6.5


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_file_is_as_wide_as_its_figure(rows: list[PlottedRow], columns: int) -> None:
    media = re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", figure_bytes(draw_curves(rows, {}, columns), "pdf"))
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
    for (line, *_), row in zip(scores.containers, found[8].rows, strict=True):
        values = {count: next(own for own in table.rows if own.method == row.method) for count, table in found.items()}
        sent = [place for place, own in enumerate(values.values()) if "psnr" in own.scores]
        assert (
            [round(x) for x in line.get_xdata()] == sent == ([1, 2, 3, 4] if row.method == "local" else [0, 1, 2, 3, 4])
        )
        assert np.asarray(line.get_ydata())[-1] == row.scores["psnr"].mean
        gain = row.statistics.gain if row.statistics else None
        assert (gain is None) == (row.method == "local")
        if gain:
            bars = [own for own in gains.containers if np.isclose(own[0].get_ydata()[-1], gain.comparison.difference)]
            low, high = bars[0][2][0].get_segments()[-1][:, 1]
            assert (high - low) / 2 == pytest.approx(gain.comparison.margin)


def inside(figure: Figure) -> bool:
    """Whether everything that is drawn lies within the figure, to 1 % of its width."""
    with style():
        figure.draw_without_rendering()
    box, room = figure.get_tightbbox(), 0.01 * figure.get_figwidth()
    return bool(
        box.x0 > -room
        and box.y0 > -room
        and box.x1 < figure.get_figwidth() + room
        and box.y1 < figure.get_figheight() + room
    )


@pytest.mark.parametrize("format", FORMATS)
def test_a_figure_made_again_is_the_same_file(rows: list[PlottedRow], format: str) -> None:
    first, second = (figure_bytes(draw_curves(rows, {}, 2), format) for _ in range(2))
    assert first == second
    assert not re.search(rb"20\d\d-\d\d-\d\dT|D:20\d\d", first)


def test_fonts_are_embedded_as_outlines_that_journals_take(rows: list[PlottedRow]) -> None:
    pdf = figure_bytes(draw_curves(rows, {}, 1), "pdf")
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    streams = [
        zlib.decompress(part) for part in re.findall(rb"FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", pdf, re.S)
    ]
    assert any(b" Tf" in stream for stream in streams)  # text stays text
    assert b"<text" not in figure_bytes(
        draw_curves(rows, {}, 1), "svg"
    )  # and is outlines where a reader may lack the font


def test_figures_know_nothing_of_the_readers_settings_and_leave_them_alone(rows: list[PlottedRow]) -> None:
    plain = figure_bytes(draw_curves(rows, {}, 1))
    with plt.rc_context({"axes.facecolor": "red", "font.size": 30, "savefig.bbox": "tight", "lines.linewidth": 9}):
        before = dict(plt.rcParams)
        assert figure_bytes(draw_curves(rows, {}, 1)) == plain
        assert dict(plt.rcParams) == before
    assert plt.get_fignums() == []


def test_curves_are_over_rounds_bytes_and_seconds(rows: list[PlottedRow]) -> None:
    labels = [axes.get_xlabel() for axes in draw_curves(rows, {}, 2).axes]
    assert labels == ["round", "MB sent by all sites", "minutes of training, all sites"]
    (axes,) = draw_curves(rows, {}, 1).axes
    assert [len(line.get_xdata()) for line in axes.lines] == [8, 8, 8]
    assert len(axes.collections) == 3  # a band each


def test_boxes_are_of_a_subjects_mean_over_tasks_and_seeds(tmp_path: Path) -> None:
    store = Store(tmp_path)
    scores = {("ixi", "T1->T2"): [20.0, 24.0], ("oasis", "T1->T2"): [10.0, 12.0], ("oasis", "T2->FLAIR"): [14.0, 18.0]}
    for seed in (0, 1):
        finished.finish(
            store, finished.identity(seed=seed), {place: [s + seed for s in own] for place, own in scores.items()}
        )
    (table,) = tables(finished_runs(store))
    assert table.rows[0].matrix is not None
    assert subject_scores(table.rows[0].matrix).tolist() == [20.5, 24.5, 12.5, 15.5]
    assert subject_scores(table.rows[0].matrix, "oasis").tolist() == [12.5, 15.5]
    assert [axes.get_title() for axes in draw_boxplots(table, 2).axes] == ["ixi", "oasis"]


def test_the_front_has_what_no_other_beats_with_as_few_bytes() -> None:
    cloud = [(0.0, 20.0), (3.0, 22.0), (3.0, 21.0), (5.0, 21.5), (9.0, 23.0), (9.0, 23.0)]
    assert pareto_front(cloud) == [(0, 20), (3, 22), (9, 23)]


def test_rows_that_send_nothing_stand_at_zero(probed: Table) -> None:
    (axes,) = draw_pareto(probed, 1).axes
    assert axes.get_xticklabels()[0].get_text() == "0"
    local = next(number for number, row in enumerate(probed.rows) if row.method == "local")
    assert axes.containers[local][0].get_xdata()[0] == axes.get_xticks()[0]


def test_bars_join_ranks_closer_than_the_critical_difference() -> None:
    mean = np.array([1.0, 1.5, 3.0, 3.9, 4.0])
    found = Ranking(tuple("abcde"), (), Ranks(mean, mean, mean, 9.0, 0.01, 1.0, np.ones((5, 5))))
    assert found.cliques() == [(0, 1), (2, 4)]
    bars = [line for line in draw_critical_difference(found, 1).axes[0].lines if line.get_linewidth() > 2]
    assert len(bars) == 2
    unsure = Ranking(tuple("abcde"), (), Ranks(mean, mean, mean, 1.0, 0.5, 1.0, np.ones((5, 5))))
    assert not [line for line in draw_critical_difference(unsure, 1).axes[0].lines if line.get_linewidth() > 2]


def test_a_method_keeps_its_colour_and_every_row_has_a_look_of_its_own(tmp_path: Path) -> None:
    """Twenty rows of one method, and two rows of as many methods as there are colours and markers."""
    methods = [f"method{number:02d}" for number in range(3 * len(COLOURS))]
    runs = {name: FinishedRun(finished.record(finished.identity(method={"name": name})), tmp_path) for name in methods}
    rows = [PlottedRow(f"{name} {number}", (runs[name],)) for number in range(2) for name in methods]
    looks = list(line_styles(rows))
    one = list(line_styles([PlottedRow(f"variant {number}", (runs["method00"],)) for number in range(20)]))
    for group in (looks, one):
        assert all(look not in group[:number] for number, look in enumerate(group))
    turned = [look["color"] for look in line_styles(rows[::-1])]
    assert turned[::-1] == [look["color"] for look in looks]


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
    assert "no critical-difference diagram: none of 1 tables is ranked" in printed.err


def test_an_unknown_format_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", "--results", str(tmp_path), "--format", "pdf,jpeg"]) == 2
    assert "no format 'jpeg'; there are pdf, svg, png" in capsys.readouterr().err


def test_without_runs_it_says_how_to_make_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", "--results", str(tmp_path)]) == 1
    assert "no finished run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
