"""`fedsynth compare`: one pair of methods explained, in every table where both have runs with the same seeds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..records.finished import finished_runs
from ..records.record import RecordError, canonical
from ..records.store import Store
from ..stats.bayes import BLOCKS, signed_rank
from ..stats.compare import Comparison
from ..stats.multiple import decide
from ..stats.scores import StatsError
from ..tables.lookup import meant, nearest, quoted
from ..tables.metric import Metric
from ..tables.table import Table, tables
from ..tables.view import TableViewError
from .explanation import explain, folded
from .leaderboard import having
from .paired_comparison import PairedComparison


class RowError(ValueError):
    """A name that means no row, or several; the message lists the choices."""


def main(
    a: str, b: str, patterns: Sequence[str], metric: str, selection: str, bound: float | None, results: Path
) -> int:
    """Print the pair, table by table; 1 if no table has both, 2 if a name means no row or several."""
    runs = finished_runs(Store(results), patterns)
    if not runs:
        return 1
    judged = Metric.of(metric)
    try:
        found = tables(having(runs, selection), selection)
        pairs, apart = paired(found, a, b, judged)
    except (RowError, TableViewError, RecordError) as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    if pairs:
        print(told(pairs, bound or judged.bound))
    for reason in apart:
        print(f"fedsynth: not compared: {reason}", file=sys.stderr)
    return 0 if pairs else 1


def paired(found: Sequence[Table], a: str, b: str, metric: Metric) -> tuple[list[PairedComparison], list[str]]:
    """The pair in every table that has it, and why it is not in the others.

    Raises RowError for a name that no table has, that means several rows of one, or the row that the other name means.
    """
    rows = [row for table in found for row in table.rows]
    chosen = [(table, meant(table, a), meant(table, b)) for table in found]
    for name, side in ((a, 1), (b, 2)):
        if not any(entry[side] for entry in chosen):
            raise RowError(f"no row is called {name!r}; there are {quoted(nearest(name, rows))}")
    pairs, apart = [], []
    for table, first, second in chosen:
        sides = ((a, first), (b, second))
        if missing := [name for name, fitting in sides if not fitting]:
            apart.append(f"{table.title}: no finished run of {' or '.join(missing)}")
            continue
        for name, fitting in sides:
            if len(fitting) > 1:
                choices = quoted([row.full_name for row in fitting])
                raise RowError(f"{table.title}: {name!r} means {len(fitting)} rows, {choices}; give one of these")
        if first[0] is second[0]:
            raise RowError(f"{table.title}: {a!r} and {b!r} are the same row, {first[0].full_name!r}; name two")
        try:
            pairs.append(PairedComparison.of(table, first[0], second[0], metric))
        except StatsError as error:
            apart.append(f"{table.title}: {error}")
    return pairs, apart


def told(pairs: Sequence[PairedComparison], bound: float | None) -> str:
    """Every table's text, and what the tables say together."""
    tested = {pair.table.title: pair.comparison for pair in pairs if isinstance(pair.comparison, Comparison)}
    decisions = decide(tested)
    count = sum(decision.adjusted is not None for decision in decisions.values())
    texts = [explain(pair, bound, decisions.get(pair.table.title), count) for pair in pairs]
    return "\n\n\n".join([*texts, "\n".join(folded([across(pairs, bound)]))])


def across(pairs: Sequence[PairedComparison], bound: float | None) -> str:
    """The differences of independent blocks, or why they say nothing. A block is a data set with the tasks of its sites."""
    count, metric = len({block(pair) for pair in pairs}), pairs[0].metric
    here = f"Across blocks (scenario x data set): {count} here"
    if count < BLOCKS:
        return f"{here}, and {BLOCKS} independent ones are needed to say anything."
    if count < len(pairs):
        return (
            f"{here}, but {len(pairs)} tables: some differ in options alone, so they are not independent; name "
            "the runs (PATTERN) so that one table a block is left."
        )
    if bound is None:
        return f"{here}; say by --bound which difference of {metric.label} does not matter."
    differences = np.array([pair.difference for pair in pairs])
    found = signed_rank(differences, bound)
    ahead, behind = int((differences > 0).sum()), int((differences < 0).sum())
    return (
        f"{here}, A is ahead in {ahead} and behind in {behind}. On a further block, by the Bayesian signed-rank test, the "
        f"probability that A is better by more than {bound:g}{metric.unit} is {found.better:.2f}, within that bound "
        f"{found.equivalent:.2f}, worse {found.worse:.2f}. Blocks of one data set share subjects: they speak of other "
        "scenarios, not of other data. Tests on ranks need 3 methods."
    )


def block(pair: PairedComparison) -> tuple[str, str]:
    """Data set and tasks of its sites; the same for tables that differ in other options only."""
    identity = pair.a.runs[0].record.identity
    return identity["dataset"]["name"], canonical(identity["scenario"]["tasks"])
