"""What a newcomer gets: before any adaptation, and after adaptation on a few subjects, held to training from scratch on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..records.record import canonical
from ..stats.compare import FEW_SEEDS
from ..tables.caption import whose
from ..tables.columns import filled, gain, six
from ..tables.row import Row, Score
from ..tables.table import Table, build, contestant
from ..tables.view import Column, TableView


def newcomers(table: Table) -> TableView | None:
    """A row a method, in the order of the table; None where the scenario has no newcomers."""
    if not (found := stages(table)):
        return None
    scenario = table.rows[0].runs[0].record.identity["scenario"]
    shown = [Column("method", tuple(row.method for row in table.rows))]
    shown.append(Column("network", tuple(row.network for row in table.rows), compact=several(table)))
    for count, other in found.items():
        shown += probed(table, other, f"on {count}" if count else "before")
    tasks = "; ".join(f"{site} {', '.join(own)}" for site, own in sorted(scenario["newcomers"].items()))
    holm = "; p is corrected for all gains at as many subjects (Holm)" if len(table.seeds) >= FEW_SEEDS else ""
    caption = (
        f"Newcomers, which train in no round: {tasks}. {table.metric.heading} of their test subjects, mean over subjects, "
        f"site-tasks and seeds, of {whose('selected')}. Before: with what they are sent (- where a method sends nothing). On N: "
        f"after {scenario['adapt_steps']} local steps on N of their training subjects; under `local` that is training from "
        "scratch.",
        "Gain: over `local` with the same network, adapted on as many subjects; +- is half of a 95 % interval for other seeds "
        f"and other subjects at these sites{holm}.",
    )
    return TableView(f"{table.title}: newcomers", "welcome, adapted-N", tuple(filled(shown)), table.notes, caption)


def stages(table: Table) -> dict[int, Table]:
    """Training subjects of the newcomers -> the table of their scores; 0 is before adaptation. Empty where there are none."""
    scenario = table.rows[0].runs[0].record.identity["scenario"]
    counts = (0, *sorted(scenario["adapt"])) if scenario.get("newcomers") else ()
    return {count: rescored(table, f"adapted-{count}" if count else "welcome") for count in counts}


def probed(table: Table, other: Table, label: str) -> Iterator[Column]:
    """The scores of one selection, in the order of the table."""
    metric, selection, rows = table.metric, other.selection, matched(table, other)
    scores = [row.scores.get(metric.column) for row in rows]
    heading = ("newcomers" if selection == "welcome" else "adapted", label)
    values = tuple(score.mean if score else None for score in scores)
    yield Column(selection, values, metric.digits, heading=heading, better=metric.sign)
    margins = tuple(six(row.statistics.margin) if row.statistics else None for row in rows)
    yield Column(f"{selection} +-", margins, metric.digits, compact=False)
    if selection != "welcome":
        yield from (replace(column, name=f"{selection} {column.name}") for column in gain(rows, metric))


def course(row: Row, table: Table) -> dict[int, float]:
    """Training subjects of the newcomers -> the row's mean; 0 is before adaptation, if anything is sent. Empty for a row with a
    hole."""
    scenario, metric = row.runs[0].record.identity["scenario"], table.metric
    found = {}
    for count in (0, *sorted(scenario["adapt"])) if scenario.get("newcomers") and not row.missing else ():
        selection = f"adapted-{count}" if count else "welcome"
        seeds = [run.values(selection, [metric.column])[metric.column] for run in row.runs]
        if score := Score.of(seeds, abs(metric.scale)):
            found[count] = score.mean
    return found


def rescored(table: Table, selection: str) -> Table:
    """The table with other scores of the same runs."""
    return build(table.title, [run for row in table.rows for run in row.runs], selection, table.metric)


def matched(table: Table, other: Table) -> list[Row]:
    """The rows of another table of the same runs, in this one's order."""
    own = {key(row): row for row in other.rows}
    return [own[key(row)] for row in table.rows]


def key(row: Row) -> str:
    return canonical(contestant(row.runs[0].record))


def several(table: Table) -> bool:
    """Whether rows differ in their network."""
    return len({row.network for row in table.rows}) > 1
