"""Tables of newcomers, across sites and of tasks never trained, against numbers worked by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support import finished

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.leaderboard.leaderboard import table_views
from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.record import write_record
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.stats.compare import compare
from fedsynth.benchmarks.stats.scores import Scores
from fedsynth.benchmarks.tables.views.reference_rows import LINE_NAMES
from fedsynth.benchmarks.tables.views.view import TableView
from fedsynth.evaluation.columns import metric_columns

A, B = ("a", "T1->T2"), ("b", "T1->T2")
TASKS = {"a": ["T1->T2"], "b": ["T1->T2"]}
NEW = {"newcomers": {"c": ["T1->T2"]}, "adapt": [1, 4], "adapt_steps": 50, "across": False}

Probes = Mapping[tuple[str, str, str], Sequence[float]]  # (selection, site, task) -> PSNR of each subject, dB


def put(store: Store, what: dict[str, Any], psnr: Mapping[tuple[str, str], list[float]], probes: Probes) -> None:
    """A run with the usual scores and those of probes. SSIM is a hundredth of PSNR."""
    record = finished.record(what, data=finished.data_of(what, psnr))
    store.folder(record.run).mkdir(parents=True, exist_ok=True)
    rows = finished.scores(what, psnr)
    for (selection, site, task), values in probes.items():
        for number, value in enumerate(values):
            place = {"selection": selection, "site": site, "task": task, "subject": f"test{number:03d}"}
            rows.append(place | dict.fromkeys(metric_columns(), 0.0) | {"psnr": value, "ssim": value / 100})
    write_record(store.folder(record.run), record, rows, finished.curve(what))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def made(store: Store, name: str, *patterns: str) -> TableView:
    found = table_views(finished_runs(store, patterns))
    (view,) = [view for view in found if view.title.endswith(name)]
    return view


def cells(view: TableView) -> dict[str, list[str]]:
    """Without the rows of reference lines."""
    rows = [row for row, name in enumerate(view.column("method").values) if (name, "") not in LINE_NAMES]
    return {column.name: column.cells for column in view.take(rows).columns}


def what(method: str, seed: int, **scenario: Any) -> dict[str, Any]:
    named = {"name": "unseen", "sites": sorted(TASKS), "tasks": TASKS} | scenario
    return finished.identity(method={"name": method}, seed=seed, scenario=named)


def test_pooled_leads_neither_at_newcomers_nor_at_other_sites(store: Store) -> None:
    for seed in range(2):
        for method, level in (("pooled", 23.0), ("fedavg", 21.0), ("local", 20.0)):
            probes = {(probe, "c", "T1->T2"): [level, level + 1] for probe in ("adapted-1", "adapted-4")}
            probes |= {("from-a", *B): [level, level + 1], ("from-b", *A): [level, level + 1]}
            put(store, what(method, seed, **NEW | {"across": True}), {A: [level, level], B: [level, level]}, probes)
    for name, columns in (
        (": newcomers", ("adapted-1", "adapted-4")),
        (": across sites", ("own sites", "other sites")),
    ):
        view = made(store, name)
        rows = dict(zip(view.column("method").values, range(3), strict=False))
        for column in map(view.column, columns):
            assert column.values[rows["pooled"]] == max(filter(None, column.values))
            assert [column.leaders[rows[method]] for method in ("pooled", "fedavg")] == [0, 1]


def test_newcomers_are_compared_with_training_from_scratch(store: Store) -> None:
    own: dict[tuple[str, str], list[float]] = {A: [20, 20], B: [20, 20]}
    for seed in range(5):
        shift = 0.1 * seed
        for method, gain in (("fedavg", 2.0), ("local", 0.0)):
            probes = {
                ("adapted-1", "c", "T1->T2"): [15 + gain + shift * (gain > 0), 17 + gain + shift / 2 * (gain > 0)],
                ("adapted-4", "c", "T1->T2"): [18 + gain / 4, 19 + gain / 4],
            }
            if method == "fedavg":
                probes["welcome", "c", "T1->T2"] = [14, 15]
            put(store, what(method, seed, **NEW), own, probes)
    view = made(store, ": newcomers")
    found = cells(view)
    assert found["method"] == ["fedavg", "local"]
    assert found["welcome"] == ["14.50", "-"]
    assert found["adapted-1"] == [
        "18.15",
        "16.00",
    ]  # the subjects gain 0.2 and 0.1 more in the mean of seeds
    assert found["adapted-4"] == ["19.00", "18.50"]
    assert found["adapted-1 gain"] == ["2.15", "-"]
    assert found["adapted-4 gain"] == ["0.50", "-"]
    assert found["adapted-4 gain p"] == ["0.0003", "-"]  # no spread at all: no drawn table has a larger t
    columns = (("c", "T1->T2", "test000"), ("c", "T1->T2", "test001"))
    gain = compare(Scores(tuple(range(5)), columns, np.array([[2 + 0.1 * s, 2 + 0.05 * s] for s in range(5)])))
    assert found["adapted-1 gain +-"][0] == f"{gain.margin:.2f}"
    assert float(found["adapted-1 gain p"][0]) == pytest.approx(2 * stats.t.sf(2.15 / gain.error, 2), abs=0.001)
    assert "c T1->T2" in view.caption[0]
    assert "after 50 local steps" in view.caption[0]


def test_across_sites(store: Store) -> None:
    tasks = {"a": ["T1->T2", "T2->T1"], "b": ["T1->T2"], "c": ["T1->T2"]}
    scenario = {"name": "cross_site", "sites": sorted(tasks), "tasks": tasks, "across": True}
    own: dict[tuple[str, str], list[float]] = {
        ("a", "T1->T2"): [20, 22],
        ("a", "T2->T1"): [24, 24],
        B: [30, 30],
        ("c", "T1->T2"): [10, 12],
    }
    for seed in range(2):
        for method, lost in (("fedavg", 1.0), ("local", 5.0)):
            probes = {
                (f"from-{home}", site, task): [value - lost - seed for value in values]
                for home in tasks
                for (site, task), values in own.items()
                if site != home
            }
            put(store, what(method, seed, **scenario), own, probes)
    found = cells(made(store, ": across sites"))
    # Own: the mean of the site-tasks 21, 24, 30 and 11. Away the same pairs of (home, site-task), twice each, less.
    assert found["method"] == ["fedavg", "local"]
    assert found["own sites"] == ["21.50", "21.50"]
    assert found["other sites"] == ["20.00", "16.00"]  # 21.5 - 1 - 0.5 and 21.5 - 5 - 0.5
    assert found["lost abroad"] == ["1.50", "5.50"]
    assert found["gain"] == ["4.00", "-"]
    whole = cells(made(store, ": site by site"))
    assert whole["method"] == ["fedavg"] * 3 + ["local"] * 3
    assert whole["model of"] == ["a", "b", "c"] * 2
    assert whole["at a"][:3] == ["22.50", "21.00", "21.00"]
    assert whole["at c"][3:] == ["5.50", "5.50", "11.00"]
    assert all("model" not in line for line in made(store, ": across sites").notes)


def test_tasks_never_trained(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = {"name": "unseen_task", "asks": {"b": ["T2->T1"]}}
    for method, value in (("fedavg", 15.0), ("local", 12.0)):
        put(store, what(method, 0, **scenario), {A: [20, 20], B: [20, 20]}, {("asked", "b", "T2->T1"): [value, value]})
    view = made(store, ": tasks never trained")
    assert view.selection == "asked"
    assert cells(view)["PSNR"] == ["15.00", "12.00"]
    assert cells(view)["b T2->T1 PSNR"] == ["15.00", "12.00"]
    assert main(["leaderboard", "--results", str(store.runs.parent), "--selection", "asked"]) == 0
    shown = capsys.readouterr().out
    assert "15.00" in shown
    assert "tasks that a site asks for and never trained" in " ".join(shown.split())


def test_a_selection_that_no_run_has_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    probes = {(f"adapted-{count}", "c", "T1->T2"): [1.0, 2.0] for count in (1, 4)}
    put(store, what("local", 0, **NEW), {A: [20, 20], B: [20, 20]}, probes)
    results = str(store.runs.parent)
    assert main(["leaderboard", "--results", results, "--selection", "adapted-2"]) == 2
    error = capsys.readouterr().err
    assert "no run has scores of 'adapted-2'; there are selected, last, adapted-1, adapted-4, welcome" in error
    assert main(["leaderboard", "--results", results, "--selection", "adapted-4"]) == 0
    assert "1.50" in capsys.readouterr().out
    assert (
        main(["leaderboard", "--results", results, "--selection", "welcome"]) == 0
    )  # a method that sends nothing has no score
    assert "local" in capsys.readouterr().out


def test_a_row_with_a_missing_seed_has_no_scores(store: Store) -> None:
    probes = {(f"adapted-{count}", "c", "T1->T2"): [1.0, 2.0] for count in (1, 4)}
    for method, seed in (("fedavg", 0), ("fedavg", 1), ("local", 0)):
        put(store, what(method, seed, **NEW), {A: [20, 20], B: [20, 20]}, probes)
    found = cells(made(store, ": newcomers"))
    assert found["adapted-1"] == ["1.50", "-"]
