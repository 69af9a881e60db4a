"""Validation curves: what is averaged over what, and figures that depend on the runs alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import finished
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes

from fedsynth.benchmarks.figures import COLOURS, Entry, curves, styles, to_png
from fedsynth.benchmarks.store import Store
from fedsynth.benchmarks.table import Finished

Curve = Mapping[str, Sequence[float]]  # validation PSNR a round, by site
NAN = float("nan")


def run(folder: Path, curve: Curve, method: str = "fedavg", seed: int = 0, **facts: object) -> Finished:
    """A finished run of a site with one task, ixi, and one with two, oasis."""
    what, store = finished.identity(method={"name": method}, seed=seed), Store(folder)
    template = finished.curve(what)[0]
    rows = [
        template | {"site": site, "round": round, "val_psnr": psnr}
        for site, values in curve.items()
        for round, psnr in enumerate(values, start=1)
    ]
    name = finished.finish(store, what, rows=rows, **facts)
    record = store.record(name)
    assert record is not None
    return Finished(record, store.folder(name))


def lines(axes: Axes) -> list[list[tuple[float, float]]]:
    """The points of every line; a marker is a line of one point."""
    return [[(float(x), round(float(y), 9)) for x, y in line.get_xydata()] for line in axes.lines]


def test_the_mean_is_over_site_tasks_and_sites_have_their_own_lines(tmp_path: Path) -> None:
    one = run(tmp_path, {"ixi": [17, 20], "oasis": [20, 26]}, selected_round=2)
    main, ixi, oasis = curves([Entry("fedavg", (one,), {})]).axes
    assert lines(main) == [[(1, 19), (2, 24)], [(2, 24)]]  # the line, and a dot at the selected round
    assert (ixi.get_title(), oasis.get_title()) == ("ixi", "oasis")
    assert (lines(ixi), lines(oasis)) == ([[(1, 17), (2, 20)]], [[(1, 20), (2, 26)]])


def test_rounds_without_validation_are_bridged(tmp_path: Path) -> None:
    one = run(tmp_path, {"ixi": [17, NAN, 20, 21], "oasis": [20, NAN, 26, NAN]}, selected_round=3)
    main, ixi, _ = curves([Entry("fedavg", (one,), {})]).axes
    assert lines(main)[0] == [(1, 19), (3, 24)]  # in round 4 only one site was validated
    assert lines(ixi) == [[(1, 17), (3, 20), (4, 21)]]


def test_seeds_are_averaged_as_far_as_all_of_them_came(tmp_path: Path) -> None:
    whole = run(tmp_path, {"ixi": [10, 12, 14], "oasis": [10, 12, 14]}, selected_round=3)
    broken = run(tmp_path, {"ixi": [20, 22, NAN], "oasis": [20, 22, NAN]}, seed=1, status="diverged", selected_round=0)
    entry = Entry("fedavg", (whole, broken), {})
    figure = curves([entry])
    main, ixi, _ = figure.axes
    mean, first, second, cross = lines(main)  # no dot: the selected round lies behind the common ones
    assert mean == [(1, 15), (2, 17)]
    assert (first, second) == ([(1, 10), (2, 12), (3, 14)], [(1, 20), (2, 22)])
    assert cross == [(2, 22)]
    assert lines(ixi) == [[(1, 15), (2, 17)], [(2, 22)]]
    (legend,) = [found for part in figure.subfigs for found in part.legends]
    assert [text.get_text() for text in legend.get_texts()] == ["fedavg (1 of 2 diverged)"]


def test_sites_that_train_as_one_have_one_line(tmp_path: Path) -> None:
    pooled = run(tmp_path, {"ixi+oasis": [20, 21]}, method="pooled", selected_round=2)
    main, ixi, oasis = curves([Entry("pooled", (pooled,), {})]).axes
    assert lines(main)[0] == [(1, 20), (2, 21)]
    assert lines(ixi) == lines(oasis) == [[]]


def test_a_run_that_diverged_before_any_validation_is_in_the_legend_only(tmp_path: Path) -> None:
    lost = run(tmp_path, {"ixi": [NAN]}, status="diverged", reason="not finite", selected_round=0)
    figure = curves([Entry("fedavg", (lost,), {})])
    assert [lines(axes) for axes in figure.axes] == [[[]], [[]], [[]]]
    assert to_png(figure).startswith(b"\x89PNG")


def test_a_method_keeps_its_colour_and_every_row_has_a_look_of_its_own(tmp_path: Path) -> None:
    methods = [f"method{number:02d}" for number in range(3 * len(COLOURS))]
    runs = {name: Finished(finished.record(finished.identity(method={"name": name})), tmp_path) for name in methods}
    entries = [Entry(f"{name} {number}", (runs[name],), {}) for number in range(2) for name in methods]
    looks = [(look["color"], look["marker"], look["dashes"]) for look in styles(entries)]
    assert len(set(looks)) == len(entries)
    turned = [look["color"] for look in styles(entries[::-1])]
    assert turned[::-1] == [colour for colour, _, _ in looks]


def test_colours_differ_in_brightness_or_hue_for_the_colour_blind() -> None:
    """Machado et al. 2009, severity 1: every pair stays apart for deuteranopes and protanopes, and from the white ground."""
    deutan = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    protan = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    colours = [[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in (*COLOURS, "#FFFFFF")]
    linear = np.where(
        np.array(colours) <= 0.04045, np.array(colours) / 12.92, ((np.array(colours) + 0.055) / 1.055) ** 2.4
    )
    for matrix in (deutan, protan):
        seen = np.clip(linear @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=2) + 9 * np.eye(len(seen))
        assert apart.min() > 0.15


def test_figures_know_nothing_of_the_readers_settings_and_leave_them_alone(tmp_path: Path) -> None:
    entries = [Entry("fedavg", (run(tmp_path, {"ixi": [17, 20], "oasis": [20, 26]}),), {})]
    plain = to_png(curves(entries))
    with plt.rc_context({"axes.facecolor": "red", "font.size": 30, "savefig.bbox": "tight", "lines.linewidth": 9}):
        before = dict(plt.rcParams)
        assert to_png(curves(entries)) == plain
        assert dict(plt.rcParams) == before
    assert plt.get_fignums() == []


@pytest.mark.parametrize("sites", [1, 5])
def test_any_number_of_sites(tmp_path: Path, sites: int) -> None:
    tasks = {f"site{number}": ["T1->T2"] for number in range(sites)}
    what, store = finished.identity(scenario={"sites": list(tasks), "tasks": tasks}), Store(tmp_path)
    name = finished.finish(store, what)
    record = store.record(name)
    assert record is not None
    titles = [axes.get_title() for axes in curves([Entry("fedavg", (Finished(record, store.folder(name)),), {})]).axes]
    assert titles[1:] == ([] if sites == 1 else list(tasks))
