"""What a published page may say of its tables: each statement is made from the tables of one folder.

A statement gives lines of Markdown without an empty one. It says of a difference no more than the table's families of tests do:
"shown to be" or "not shown to", never "equal".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from textwrap import wrap

from ..leaderboard.compare import RowError, compared
from ..leaderboard.cross_site import rows_at_other_sites
from ..leaderboard.newcomers import adaptation_stages
from ..leaderboard.paired_comparison import PairedComparison
from ..records.text_table import how_many
from ..tables.labels import option_text
from ..tables.metric import Metric
from ..tables.row import Row
from ..tables.statistics import Decision
from ..tables.table import Table
from ..tables.views.verdict import verdict

WIDTH = 150  # characters of a line


class StatementError(ValueError):
    """A statement that cannot be made of the tables; the message says why."""


def setting(tables: Sequence[Table]) -> list[str]:
    """What was run: how many runs, of what size."""
    records = [run.record for table in tables for row in table.rows for run in row.runs]
    sites = [sizes for record in records for sizes in record.data["subjects_and_slices"].values()]
    train, val, test = (_range(sizes[split][0] for sizes in sites) for split in ("train", "val", "test"))
    facts = [
        f"{len(records)} runs in {how_many(len(tables), 'table')}",
        f"{how_many(len({seed for table in tables for seed in table.seeds}), 'seed')}",
        f"{train} training, {val} validation and {test} test subjects a site",
        f"{_range(record.local_steps for record in records)} local steps a site",
        f"networks of width {_range(record.identity['network']['width'] for record in records)}",
    ]
    if pixels := {record.identity["dataset"].get("size") for record in records} - {None}:
        facts.append(
            f"simulated images of {_range(pixels)} pixels a side, which are no evidence of clinical performance"
        )
    return wrap(f"{'; '.join(facts)}.", WIDTH)


def standing(tables: Sequence[Table]) -> list[str]:
    """Of each table: who leads and is it settled, what needs no training, and which rows are shown to gain or to lose."""
    return _items((table.title, _standing(table)) for table in tables)


def headlines(tables: Sequence[Table]) -> list[str]:
    """Of each table the first two sentences of these."""
    return _items((table.title, islice(_standing(table), 2)) for table in tables)


def at_newcomers(tables: Sequence[Table]) -> list[str]:
    """The same of newcomers: before they adapt, and after they did on each number of subjects."""
    stages = [item for table in tables for item in adaptation_stages(table).items()]
    if not stages:
        raise StatementError("no table has newcomers")
    named = ((f"On {how_many(count, 'subject')}" if count else "Before they adapt", stage) for count, stage in stages)
    return _items((name, _standing(stage)) for name, stage in named)


def at_other_sites(tables: Sequence[Table]) -> list[str]:
    """Which rows are shown to gain over `local` where each site's model serves the other sites."""
    found = [(table, rows) for table in tables if (rows := rows_at_other_sites(table))]
    if not found:
        raise StatementError("no table has models at other sites")
    return _items((f"{table.title}, at other sites", _gains(rows, table.metric)) for table, rows in found)


def _standing(table: Table) -> Iterator[str]:
    metric = table.metric
    yield table.headline
    if known := [row.below_lookup for row in table.rows if row.below_lookup is not None]:
        yield f"Below the look-up table are {sum(known)} of {how_many(len(known), 'row')}."
    lines = [
        f"{line.name} {metric.plain(metric.sign * line.scores[metric.column].mean)}"
        for line in table.lines
        if metric.column in line.scores
    ]
    missing = [line.name for line in table.lines if metric.column not in line.scores]
    if lines:
        yield f"Lines of reference: {', '.join(lines)}{metric.unit}."
    if missing:
        yield f"Not recorded: {', '.join(missing)}."
    yield from _gains(table.rows, metric)


def _gains(rows: Sequence[Row], metric: Metric) -> Iterator[str]:
    """Which rows are shown to gain over `local`, or to lose; nothing of a row that is not known to be above the look-up table."""
    one_network = len({row.network for row in rows}) == 1
    gains = [(row, row.statistics.gain) for row in rows if row.statistics and row.statistics.gain]
    tested = [(row, gain) for row, gain in gains if gain.significant is not None]
    sound = [(row, gain) for row, gain in tested if row.below_lookup is False]
    above = [
        f"`{row.method if one_network else row.full_name}` by {metric.signed(gain.comparison.difference)}{metric.unit} "
        f"({_interval(gain, metric)})"
        for row, gain in sound
        if gain.significant and gain.comparison.difference > 0
    ]
    below = sum(bool(gain.significant and gain.comparison.difference < 0) for _, gain in sound)
    if sound:
        yield (
            f"Against `local` on the same network {_listed(above) or 'no row'} {'are' if len(above) > 1 else 'is'} shown to "
            f"gain, {below or 'none'} to lose, {len(sound) - below - len(above) or 'none'} neither."
        )
    if left := len(tested) - len(sound):
        known = any(row.below_lookup for row, _ in tested)
        why = "they are below the look-up table" if known else "the look-up table was not recorded"
        yield f"Nothing is claimed of the gains of {how_many(left, 'row')}: {why}."


def comparisons(tables: Sequence[Table], a: str, *others: str) -> list[str]:
    """What `fedsynth compare` says of row A and each of the others, in every table that has both."""
    try:
        pairs = [pair for b in others for pair in compared(tables, a, b, tables[0].metric)[0]]
    except RowError as error:
        raise StatementError(str(error)) from error
    by_table = {table.title: [pair for pair in pairs if pair.table is table] for table in tables}
    return _items((title, _verdicts(own)) for title, own in by_table.items() if own)


def _verdicts(pairs: Sequence[PairedComparison]) -> Iterator[str]:
    """A verdict on each pair of which something may be claimed, and the differences of the others."""
    unclaimed: dict[str, list[str]] = {}
    for pair in pairs:
        (a, b), metric, decision = pair.names, pair.metric, pair.decision
        difference = f"{a} minus {b} {metric.signed(pair.difference)}{metric.unit}"
        if decision is None:
            unclaimed.setdefault(str(pair.result), []).append(difference)
        elif (below := {pair.a.below_lookup, pair.b.below_lookup}) != {False}:
            why = "a row of each is below the look-up table" if True in below else "the look-up table was not recorded"
            unclaimed.setdefault(why, []).append(f"{difference} ({_interval(decision, metric)})")
        elif decision.low is None:
            why = "few seeds" if decision.comparison.few_seeds else "exploratory"
            unclaimed.setdefault(why, []).append(f"{difference} ({_interval(decision, metric)})")
        else:
            text = verdict(a, b, decision, metric)
            yield text.replace("neither", "Neither", 1) if text.startswith("neither") else text
    for why, differences in unclaimed.items():
        yield f"No claim ({why}): {'; '.join(differences)}."


def _interval(decision: Decision, metric: Metric) -> str:
    """The interval that holds together with the others of its family, or else its own."""
    if decision.low is None or decision.high is None:
        return metric.between(decision.comparison.low, decision.comparison.high)
    return metric.between(decision.low, decision.high)


def options(tables: Sequence[Table], *names: str) -> list[str]:
    """The values of options, such as fedprox.mu, in the rows of these tables."""
    identities = [row.identity["method"] for table in tables for row in table.rows]
    found = []
    for name in names:
        method, _, option = name.partition(".")
        values = {option_text(own[option]) for own in identities if own["name"] == method and option in own}
        if not values:
            raise StatementError(f"no row of {method!r} has an option {option!r}")
        found.append(f"`{method}` has `{option}` {' and '.join(sorted(values))}")
    return wrap(f"{'; '.join(found)}.", WIDTH)


STATEMENTS: dict[str, Callable[..., list[str]]] = {
    "setting": setting,
    "standing": standing,
    "headlines": headlines,
    "newcomers": at_newcomers,
    "across": at_other_sites,
    "compare": comparisons,
    "options": options,
}


def _items(entries: Iterable[tuple[str, Iterable[str]]]) -> list[str]:
    """A list with an item for each title and its sentences."""
    return [
        line
        for title, sentences in entries
        for line in wrap(f"- **{title}.** {' '.join(sentences)}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    ]


def _range(values: Iterable[float]) -> str:
    """All values in words, each once."""
    return _listed([f"{value:,g}" for value in sorted(set(values))])


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
