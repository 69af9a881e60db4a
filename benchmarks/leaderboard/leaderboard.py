"""`fedsynth leaderboard`: tables of the finished runs on the terminal, and in full as Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from textwrap import wrap

from fedsynth.runtime.atomic import write_atomically

from ..records.finished import FinishedRun, finished_runs
from ..records.record import SELECTIONS, RecordError, expected_scores, welcome_scores
from ..records.store import Store
from ..tables.caption import scores_of
from ..tables.metric import Metric
from ..tables.row import RowName
from ..tables.table import Table, tables
from ..tables.views.columns import site_task_view, table_view
from ..tables.views.named_rows import no_such_row, rows_named
from ..tables.views.pairs import pair_views
from ..tables.views.reference_rows import LINE_NAMES
from ..tables.views.view import TableView, TableViewError
from .across_scenarios import across_scenarios
from .by_train_size import by_train_size
from .cross_site import cross_site
from .html import to_html
from .latex import to_latex
from .newcomers import newcomers, rescored
from .text import WIDTH, to_csv, to_markdown, to_terminal

FORMATS = ("md", "csv", "tex", "html")


def main(
    patterns: Sequence[str],
    results: Path,
    out: Path | None,
    scenario: str | None,
    metric: str,
    selection: str,
    sort: str | None,
    only: str | None,
    columns: str | None,
    caption: str,
    label: str,
) -> int:
    """Print and write the tables; 1 if there is no finished run, 2 for a name that means nothing."""
    runs = finished_runs(Store(results), patterns)
    if not runs:
        return 1
    try:
        views = table_views(
            with_selection(_of_scenario(runs, scenario), selection),
            selection,
            metric,
            only.split(",") if only else [],
            columns.split(",") if columns else [],
        )
        if sort:
            views = _sorted(views, sort)
    except (TableViewError, RecordError) as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    out = out or results / "leaderboard"
    write_views(views, out, FORMATS, caption, label)
    shown = [view for view in views if view.shown]
    print("\n\n".join(map(to_terminal, _without_repeated_notes(shown))))
    print("\n".join(["", *wrap(_legend(views, selection, Metric.of(metric)), WIDTH)]))
    print(f"In full: {out / 'leaderboard.md'}, and beside it {', '.join(f'.{ending}' for ending in FORMATS[1:])}")
    return 0


def table_views(
    runs: Sequence[FinishedRun],
    selection: str = "selected",
    metric: str = "psnr",
    only: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> list[TableView]:
    """All tables of the runs as they are shown; with `only`, the rows that these names mean; with `columns`, these of each table.

    Raises TableViewError for a name that means no row or column, RecordError where a run was not scored by the metric.
    """
    found = tables(runs, selection, metric)
    views = [view for table in found for view in _views_of(table, columns)]
    if selection == "selected":
        views += [view for table in found for view in (newcomers(table), *cross_site(table), _asked(table)) if view]
    views += [*by_train_size(found), *across_scenarios(found)]
    if not only:
        return views
    if unknown := [name for name in only if not any(rows_named(table, name) for table in found)]:
        raise TableViewError(no_such_row(unknown[0], [row for table in found for row in table.rows]))
    kept = {row.name for table in found for name in only for row in rows_named(table, name)}
    return [part for view in views if (part := _rows_of(view, kept))]


def _views_of(table: Table, columns: Sequence[str]) -> Iterator[TableView]:
    """The table, with these columns if any are given, and those beside it that keep it narrow."""
    yield table_view(table).showing(columns) if columns else table_view(table)
    if view := site_task_view(table):
        yield view
    yield from pair_views(table)


def _rows_of(view: TableView, kept: Container[RowName]) -> TableView | None:
    """The rows of these methods and networks, None where there are none. Their statistics stay those of the whole table."""
    named = {column.name: column.cells for column in view.columns}
    names = list(zip(named["method"], named["network"], strict=True))
    rows = [row for row, name in enumerate(names) if name in kept or name in LINE_NAMES]
    whole, own = (sum(names[row] not in LINE_NAMES for row in chosen) for chosen in (range(len(names)), rows))
    note = f"{whole - own} more rows are not shown; ranks, groups and tests are those of all {whole}."
    return view.take(rows, *[note] * (own < whole)) if own else None


def _sorted(views: Sequence[TableView], name: str) -> list[TableView]:
    """The views, those that have a column of this name by it. Raises TableViewError where none has."""
    having = [view for view in views if name in {column.name for column in view.csv_columns}]
    return [view.sorted(name) if view in having or not having else view for view in views]


def _asked(table: Table) -> TableView | None:
    """The scores of tasks that sites ask for and never trained; None where the scenario has no such tasks."""
    if not table.scenario.get("asks"):
        return None
    return replace(table_view(rescored(table, "asked")), title=f"{table.title}: tasks never trained")


def _of_scenario(runs: Sequence[FinishedRun], name: str | None) -> list[FinishedRun]:
    """The runs of a scenario. Raises TableViewError where there are none."""
    known = sorted({run.record.identity["scenario"]["name"] for run in runs})
    if name is not None and name not in known:
        raise TableViewError(f"no finished run of scenario {name!r}; there are runs of {', '.join(known)}")
    return [run for run in runs if name in (None, run.record.identity["scenario"]["name"])]


def with_selection(runs: Sequence[FinishedRun], selection: str) -> list[FinishedRun]:
    """The runs whose scenario has scores of a selection. Raises TableViewError where there are none."""
    if selection in SELECTIONS:
        return list(runs)
    known: dict[str, None] = {}
    found = []
    for run in runs:
        scenario = run.record.identity["scenario"]
        own = dict.fromkeys(name for name, *_ in (*expected_scores(scenario), *sorted(welcome_scores(scenario))))
        known |= own
        if selection in own:
            found.append(run)
    if not found:
        raise TableViewError(f"no run has scores of {selection!r}; there are {', '.join(known)}")
    return found


def _without_repeated_notes(views: Sequence[TableView]) -> Iterator[TableView]:
    """The views, each without the notes of those before it."""
    seen: set[str] = set()
    for view in views:
        yield replace(view, notes=tuple(note for note in view.notes if note not in seen))
        seen.update(view.notes)


def _legend(views: Sequence[TableView], selection: str, metric: Metric) -> str:
    """What a reader of the terminal needs to know."""
    shown = {column.name for view in views for column in view.columns}
    parts = ["PSNR in dB", "SSIM x 100"]
    if metric.column not in ("psnr", "ssim"):
        parts.append(f"{metric.heading}: {'higher' if metric.sign > 0 else 'lower'} is better")
    if f"{metric.heading} +-" in shown:
        parts.append("+-: half of a 95 % interval")
    if "against" in shown:
        parts.append("+ better, - worse, . not shown to differ (5 % for all pairs together)")
    if "groups" in shown:
        parts.append("rows that share a letter in groups are not shown to differ")
    if "gain" in shown:
        parts.append("gain: over training alone (`local`) on the same network")
    parts.append(f"site and task: the {metric.heading} there")
    return f"{'; '.join(parts)}. Scores are those of {scores_of(selection)}."


def write_views(
    views: Sequence[TableView], out: Path, endings: Iterable[str], caption: str = "", label: str = "fedsynth"
) -> None:
    """Write the tables as leaderboard.md, .csv and so on into a folder; caption and label are those of LaTeX."""
    out.mkdir(parents=True, exist_ok=True)
    texts: dict[str, Callable[[Sequence[TableView]], str]]
    texts = {"md": to_markdown, "csv": to_csv, "tex": partial(to_latex, caption=caption, label=label), "html": to_html}
    for ending in endings:
        write_atomically(out / f"leaderboard.{ending}", texts[ending](views).encode())
