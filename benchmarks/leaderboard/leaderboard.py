"""`fedsynth leaderboard`: tables of the finished runs on the terminal, and in full as Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import wrap

from fedsynth.runtime.atomic import write_atomically

from ..records.finished import FinishedRun, finished_runs
from ..records.record import SELECTIONS, RecordError, places, welcomes
from ..records.store import Store
from ..tables.caption import whose
from ..tables.columns import view
from ..tables.lookup import meant, nearest, quoted
from ..tables.metric import Metric
from ..tables.table import Table, tables
from ..tables.view import TableView, TableViewError
from .across_scenarios import overview
from .by_train_size import scarcity
from .cross_site import cross_site
from .html import fragment
from .latex import latex
from .newcomers import newcomers, rescored
from .text import WIDTH, markdown, terminal, to_csv

FORMATS = {"md": markdown, "csv": to_csv, "tex": latex, "html": fragment}


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
        found = panels(
            having(of_scenario(runs, scenario), selection),
            selection,
            metric,
            only.split(",") if only else [],
        )
        if sort:
            found = [panel.sorted(sort) for panel in found]
    except (TableViewError, RecordError) as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    out = out or results / "leaderboard"
    write(found, out, tuple(FORMATS))
    print("\n\n".join(map(terminal, unrepeated(found))))
    print("\n".join(["", *wrap(legend(found, selection, Metric.of(metric)), WIDTH)]))
    print(f"In full: {out / 'leaderboard.md'}, and beside it {', '.join(f'.{ending}' for ending in list(FORMATS)[1:])}")
    return 0


def panels(
    runs: Sequence[FinishedRun], selection: str = "selected", metric: str = "psnr", only: Sequence[str] = ()
) -> list[TableView]:
    """All tables of the runs as they are shown; with `only`, the rows that these names mean.

    Raises TableViewError for a name that means no row, RecordError where a run was not scored by the metric.
    """
    found = tables(runs, selection, metric)
    shown = [view(table) for table in found]
    if selection == "selected":
        shown += [panel for table in found for panel in (newcomers(table), *cross_site(table), asked(table)) if panel]
    shown += [*scarcity(found), *overview(found)]
    if not only:
        return shown
    if unknown := [name for name in only if not any(meant(table, name) for table in found)]:
        near = nearest(unknown[0], [row for table in found for row in table.rows])
        raise TableViewError(f"no row is called {unknown[0]!r}; there are {quoted(near)}")
    kept = {(row.method, row.network) for table in found for name in only for row in meant(table, name)}
    return [part for panel in shown if (part := chosen(panel, kept))]


def chosen(panel: TableView, kept: Container[tuple[str, str]]) -> TableView | None:
    """The rows of these methods and networks, None where there are none. Statistics stay those of the whole table."""
    named = {column.name: column.cells() for column in panel.columns}
    names = list(zip(named["method"], named["network"], strict=True))
    places = [place for place, name in enumerate(names) if name in kept]
    hidden = len(names) - len(places)
    note = f"{hidden} more rows are not shown; ranks, groups and corrections are those of all {len(names)}."
    return panel.take(places, *[note] * bool(hidden)) if places else None


def asked(table: Table) -> TableView | None:
    """Scores of tasks that sites ask for and never trained; None where the scenario has none."""
    if not table.rows[0].runs[0].record.identity["scenario"].get("asks"):
        return None
    return replace(view(rescored(table, "asked")), title=f"{table.title}: tasks never trained")


def of_scenario(runs: Sequence[FinishedRun], name: str | None) -> list[FinishedRun]:
    """The runs of a scenario. Raises TableViewError where there are none."""
    known = sorted({run.record.identity["scenario"]["name"] for run in runs})
    if name is not None and name not in known:
        raise TableViewError(f"no finished run of scenario {name!r}; there are runs of {', '.join(known)}")
    return [run for run in runs if name in (None, run.record.identity["scenario"]["name"])]


def having(runs: Sequence[FinishedRun], selection: str) -> list[FinishedRun]:
    """The runs whose scenario has a selection. Raises TableViewError where there are none."""
    if selection in SELECTIONS:
        return list(runs)
    known: dict[str, None] = {}
    found = []
    for run in runs:
        scenario = run.record.identity["scenario"]
        own = dict.fromkeys(place[0] for place in (*places(scenario), *sorted(welcomes(scenario))))
        known |= own
        if selection in own:
            found.append(run)
    if not found:
        raise TableViewError(f"no run has scores of {selection!r}; there are {', '.join(known)}")
    return found


def unrepeated(found: Sequence[TableView]) -> Iterator[TableView]:
    """The tables, each without the notes of those before it."""
    told: set[str] = set()
    for panel in found:
        yield replace(panel, notes=tuple(note for note in panel.notes if note not in told))
        told.update(panel.notes)


def legend(found: Sequence[TableView], selection: str, metric: Metric) -> str:
    """What a reader of the terminal needs to know."""
    shown = {column.name for panel in found for column in panel.columns}
    told = ["PSNR in dB", "SSIM x 100"]
    if metric.column not in ("psnr", "ssim"):
        told.append(f"{metric.heading}: {'higher' if metric.sign > 0 else 'lower'} is better")
    if f"{metric.heading} +-" in shown:
        told.append("+-: half of a 95 % interval")
    if "groups" in shown:
        told.append("rows that share a letter of groups do not differ")
    if "gain" in shown:
        told.append("gain: over training alone (`local`) on the same network")
    return f"{'; '.join(told)}; each site-task's {metric.heading}; of {whose(selection)}."


def write(found: Sequence[TableView], out: Path, endings: Iterable[str]) -> None:
    """Write the tables as leaderboard.md, .csv and so on into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    for ending in endings:
        write_atomically(out / f"leaderboard.{ending}", FORMATS[ending](found).encode())
