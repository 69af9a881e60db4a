"""`fedsynth leaderboard`: tables of the finished runs on the terminal, and in full as Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import wrap

from fedsynth.runtime.atomic import write_atomically

from ..records.finished import FinishedRun, finished_runs
from ..records.record import SELECTIONS, RecordError, expected_scores, welcome_scores
from ..records.store import Store
from ..tables.caption import scores_of
from ..tables.lookup import no_such_row, rows_named
from ..tables.metric import Metric
from ..tables.row import RowName
from ..tables.table import Table, tables
from ..tables.views.columns import table_view
from ..tables.views.view import TableView, TableViewError
from .across_scenarios import across_scenarios
from .by_train_size import by_train_size
from .cross_site import cross_site
from .html import to_html
from .latex import to_latex
from .newcomers import newcomers, rescored
from .text import WIDTH, to_csv, to_markdown, to_terminal

FORMATS = {"md": to_markdown, "csv": to_csv, "tex": to_latex, "html": to_html}


def main(
    patterns: Sequence[str],
    results: Path,
    out: Path | None,
    scenario: str | None,
    metric: str,
    selection: str,
    sort: str | None,
    only: str | None,
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
        )
        if sort:
            views = [view.sorted(sort) for view in views]
    except (TableViewError, RecordError) as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    out = out or results / "leaderboard"
    write_views(views, out, tuple(FORMATS))
    print("\n\n".join(map(to_terminal, _without_repeated_notes(views))))
    print("\n".join(["", *wrap(_legend(views, selection, Metric.of(metric)), WIDTH)]))
    print(f"In full: {out / 'leaderboard.md'}, and beside it {', '.join(f'.{ending}' for ending in list(FORMATS)[1:])}")
    return 0


def table_views(
    runs: Sequence[FinishedRun], selection: str = "selected", metric: str = "psnr", only: Sequence[str] = ()
) -> list[TableView]:
    """All tables of the runs as they are shown; with `only`, the rows that these names mean.

    Raises TableViewError for a name that means no row, RecordError where a run was not scored by the metric.
    """
    found = tables(runs, selection, metric)
    views = [table_view(table) for table in found]
    if selection == "selected":
        views += [view for table in found for view in (newcomers(table), *cross_site(table), _asked(table)) if view]
    views += [*by_train_size(found), *across_scenarios(found)]
    if not only:
        return views
    if unknown := [name for name in only if not any(rows_named(table, name) for table in found)]:
        raise TableViewError(no_such_row(unknown[0], [row for table in found for row in table.rows]))
    kept = {row.name for table in found for name in only for row in rows_named(table, name)}
    return [part for view in views if (part := _rows_of(view, kept))]


def _rows_of(view: TableView, kept: Container[RowName]) -> TableView | None:
    """The rows of these methods and networks, None where there are none. Their statistics stay those of the whole table."""
    named = {column.name: column.cells for column in view.columns}
    names = list(zip(named["method"], named["network"], strict=True))
    rows = [row for row, name in enumerate(names) if name in kept]
    hidden = len(names) - len(rows)
    note = f"{hidden} more rows are not shown; ranks, groups and corrections are those of all {len(names)}."
    return view.take(rows, *[note] * bool(hidden)) if rows else None


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
    if "groups" in shown:
        parts.append("rows that share a letter in groups are not shown to differ")
    if "gain" in shown:
        parts.append("gain: over training alone (`local`) on the same network")
    parts.append(f"site and task: the {metric.heading} there")
    return f"{'; '.join(parts)}. Scores are those of {scores_of(selection)}."


def write_views(views: Sequence[TableView], out: Path, endings: Iterable[str]) -> None:
    """Write the tables as leaderboard.md, .csv and so on into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    for ending in endings:
        write_atomically(out / f"leaderboard.{ending}", FORMATS[ending](views).encode())
