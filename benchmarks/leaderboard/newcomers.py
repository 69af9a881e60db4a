"""The scores of newcomers: before any adaptation, and after adaptation on a few subjects, compared with training from scratch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..records.record import canonical
from ..stats.compare import FEW_SEEDS, margins
from ..stats.scores import Scores
from ..tables.caption import SELECTED
from ..tables.reference_lines import reference_lines
from ..tables.row import Row, Score
from ..tables.table import Table, build, contestant
from ..tables.views.columns import gain_columns, mean_column, statistic_column, with_rivals
from ..tables.views.reference_rows import with_means
from ..tables.views.view import Column, TableView, name_columns, without_empty


def newcomers(table: Table) -> TableView | None:
    """The rows of the table in its order; None where the scenario has no newcomers."""
    if not (stages := adaptation_stages(table)):
        return None
    shown = [*name_columns([row.name for row in table.rows])]
    for count, stage in stages.items():
        own = _stage_columns(table, stage, f"on {count}" if count else "before")
        shown += with_rivals(_in_order_of(table, stage), own)
    tasks = "; ".join(f"{site} {', '.join(own)}" for site, own in sorted(table.scenario["newcomers"].items()))
    corrected = (
        ", * where it is not 0 (5 % for all gains with as many subjects together); without *: not shown to differ"
        if len(table.seeds) >= FEW_SEEDS
        else ""
    )
    caption = (
        f"Newcomers train in no round: {tasks}. A score is the mean {table.metric.heading} over their test subjects, then over "
        f"site-tasks, then over seeds, in {SELECTED}. Before: with the weights that newcomers are sent (- where a method sends "
        f"nothing). On N: after {table.scenario['adapt_steps']} local steps on N of their training subjects; for `local` that is "
        "training from scratch.",
        "Gain is the difference to `local` with the same network, adapted on as many subjects; +- is half of a 95 % interval for "
        f"other seeds and other subjects at these sites{corrected}.",
        "Reference lines are fitted on as many subjects. Where the look-up table was not recorded no gain has a *.",
    )
    notes = tuple(note for note in table.notes if not note.startswith("Not ranked"))
    view = TableView(f"{table.title}: newcomers", "welcome, adapted-N", without_empty(shown), notes, caption)
    return with_means(view, {stage.selection: stage for stage in stages.values()})


def adaptation_stages(table: Table) -> dict[int, Table]:
    """Number of training subjects that newcomers adapt on -> the table of their scores. 0 is before adaptation. Empty where
    there are no newcomers."""
    return {count: rescored(table, _selection(count)) for count in _subject_counts(table)}


def newcomer_scores(row: Row, table: Table) -> dict[int, tuple[float, float | None]]:
    """Number of training subjects that newcomers adapt on -> the row's mean, and half of its interval. 0 is before adaptation,
    where anything is sent. Empty for a row with a missing seed."""
    metric, found = table.metric, {}
    for count in () if row.missing else _subject_counts(table):
        seeds = {
            run.record.identity["seed"]: run.values(_selection(count), [metric.column])[metric.column]
            for run in row.runs
        }
        if score := Score.of([*seeds.values()], abs(metric.scale)):
            (margin,) = margins([Scores.of(seeds, metric.scale)])
            found[count] = score.mean, margin
    return found


def newcomer_lines(table: Table) -> dict[str, dict[int, float]]:
    """Name of a reference line -> the number of subjects that it is fitted on -> its mean, as `newcomer_scores`."""
    records, found = [run.record for row in table.rows for run in row.runs], dict[str, dict[int, float]]()
    for count in _subject_counts(table):
        for line in reference_lines(records, _selection(count)):
            if score := line.scores.get(table.metric.column):
                found.setdefault(line.name, {})[count] = score.mean
    return found


def rescored(table: Table, selection: str) -> Table:
    """The table with other scores of the same runs."""
    runs = [run for row in table.rows for run in row.runs]
    return build(table.title, runs, selection, table.metric, table.longer)


def _subject_counts(table: Table) -> tuple[int, ...]:
    scenario = table.scenario
    return (0, *sorted(scenario["adapt"])) if scenario.get("newcomers") else ()


def _selection(count: int) -> str:
    return f"adapted-{count}" if count else "welcome"


def _stage_columns(table: Table, stage: Table, label: str) -> Iterator[Column]:
    """The scores of one stage, in the order of the table."""
    metric, selection, rows = table.metric, stage.selection, _in_order_of(table, stage)
    heading = ("newcomers" if selection == "welcome" else "adapted", label)
    margins = statistic_column(rows, f"{selection} +-", lambda own: own.margin, metric.digits, compact=False)
    yield mean_column(rows, metric, selection, heading).with_margins(margins)
    yield margins
    if selection != "welcome":
        for column in gain_columns(rows, metric):
            yield replace(column, name=f"{selection} {column.name}", heading=("gain", label))


def _in_order_of(table: Table, other: Table) -> list[Row]:
    """The rows of the other table of the same runs, in this one's order."""
    rows = {canonical(contestant(row.runs[0].record)): row for row in other.rows}
    return [rows[canonical(contestant(row.runs[0].record))] for row in table.rows]
