"""`fedsynth compare`: two methods compared in words, in every table where both have runs with the same seeds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..records.finished import finished_runs
from ..records.record import RecordError, canonical
from ..records.store import Store
from ..stats.bayes import BLOCKS, signed_rank
from ..stats.scores import StatsError
from ..tables.metric import Metric
from ..tables.row import Row, plain_rows
from ..tables.table import Table, tables
from ..tables.views.named_rows import no_such_row, quoted, rows_named
from ..tables.views.view import TableViewError
from .explanation import explanation, wrapped
from .leaderboard import with_selection
from .paired_comparison import PairedComparison


class RowError(ValueError):
    """A name that means no row, or several; the message lists the choices."""


def main(
    a: str, b: str, patterns: Sequence[str], metric: str, selection: str, bound: float | None, results: Path
) -> int:
    """Print the comparisons, table by table; 1 if no table has both, 2 if a name means no row or several."""
    runs = finished_runs(Store(results), patterns)
    if not runs:
        return 1
    judged = Metric.of(metric)
    try:
        found = tables(with_selection(runs, selection), selection)
        comparisons, reasons = compared(found, a, b, judged)
    except (RowError, TableViewError, RecordError) as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    if comparisons:
        print(_explained(comparisons, bound or judged.bound))
    for reason in reasons:
        print(f"fedsynth: not compared: {reason}", file=sys.stderr)
    return 0 if comparisons else 1


def compared(found: Sequence[Table], a: str, b: str, metric: Metric) -> tuple[list[PairedComparison], list[str]]:
    """The comparison of A and B in every table that has both, and why they are not compared in the other tables.

    Raises RowError for a name that no table has, that means several rows of one, or the row that the other name means.
    """
    rows = [row for table in found for row in table.rows]
    named = [(table, rows_named(table, a), rows_named(table, b)) for table in found]
    for name, side in ((a, 1), (b, 2)):
        if not any(entry[side] for entry in named):
            raise RowError(no_such_row(name, rows))
    comparisons, reasons = [], []
    for table, first, second in named:
        first, second = _plain(first, second)
        sides = ((a, first), (b, second))
        if missing := [name for name, fitting in sides if not fitting]:
            reasons.append(f"{table.title}: no finished run of {' or '.join(missing)}")
            continue
        for name, fitting in sides:
            if len(fitting) > 1:
                choices = quoted([row.full_name for row in fitting])
                raise RowError(f"{table.title}: {name!r} means {len(fitting)} rows, {choices}; give one of these")
        if first[0] is second[0]:
            raise RowError(f"{table.title}: {a!r} and {b!r} are the same row, {first[0].full_name!r}; name two")
        try:
            comparisons.append(PairedComparison.of(table, first[0], second[0], metric))
        except StatsError as error:
            reasons.append(f"{table.title}: {error}")
    return comparisons, reasons


def _plain(first: Sequence[Row], second: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows that two names mean: of several the plain ones, and of these the two that have their network alone in common."""
    first, second = plain_rows(first), plain_rows(second)
    together = [(one, other) for one in first for other in second if one.network == other.network]
    return ([together[0][0]], [together[0][1]]) if len(together) == 1 else (first, second)


def _explained(comparisons: Sequence[PairedComparison], bound: float | None) -> str:
    """The text of each table, and what the tables say together."""
    texts = [explanation(own, bound) for own in comparisons]
    return "\n\n\n".join("\n".join(lines) for lines in (*texts, wrapped([_across_blocks(comparisons, bound)])))


def _across_blocks(comparisons: Sequence[PairedComparison], bound: float | None) -> str:
    """What the differences of independent blocks say, or why they say nothing. A block is a data set with the tasks of its
    sites."""
    count, metric = len({_block(own) for own in comparisons}), comparisons[0].metric
    here = f"Across blocks (scenario x data set): {count} here"
    if count < BLOCKS:
        return f"{here}, but {BLOCKS} independent ones are needed to say anything."
    if count < len(comparisons):
        return (
            f"{here}, but {len(comparisons)} tables: some differ in options alone, so they are not independent; name "
            "the runs (PATTERN) so that one table is left for each block."
        )
    if bound is None:
        return f"{here}; give --bound, the largest difference of {metric.label} that does not matter."
    differences = np.array([own.difference for own in comparisons])
    found = signed_rank(differences, bound)
    ahead, behind = int((differences > 0).sum()), int((differences < 0).sum())
    return (
        f"{here}, A is ahead in {ahead} and behind in {behind}. By the Bayesian signed-rank test, the probability that on a "
        f"further block A is better by more than {bound:g}{metric.unit} is {found.better:.2f}, within that bound "
        f"{found.equivalent:.2f}, worse {found.worse:.2f}. Blocks of one data set share subjects: they stand for other "
        "scenarios, not for other data. Tests on ranks need 3 methods."
    )


def _block(comparison: PairedComparison) -> tuple[str, str]:
    """The data set and the tasks of its sites; the same for tables that differ in other options only."""
    identity = comparison.table.record.identity
    return identity["dataset"]["name"], canonical(identity["scenario"]["tasks"])
