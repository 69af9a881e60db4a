"""The tables of finished runs: which runs may be compared, in which rows, and in which order.

Runs share a table when they had the same scenario, test subjects and training budget. Training and validation subjects belong to
the seed: they may differ from seed to seed, and are the same in all rows of one seed. A row is a method and a network with their
options and code, averaged over seeds (row.py); statistics.py says how sure its score is, and views/columns.py prints it.

Where two records of one row and seed have different scores, neither counts (records/agreement.py), unless they were asked for on
different hardware: then each hardware has a table. rank_rule.py says when the rows have ranks. A table is a *smoke run* where a
site trained fewer than SMOKE_STEPS local steps: it shows that the code runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from ..records.agreement import agreed, dispute
from ..records.finished import FinishedRun
from ..records.record import Record, canonical
from ..stats.compare import margins
from ..stats.scores import StatsError
from .caption import ELSEWHERE, caption, facts, notes, titles
from .headline import headline
from .labels import MOVING, OWN, Names
from .metric import Metric
from .rank_rule import may_be_ranked, rank_intervals, reasons_against_ranks
from .reference_lines import ReferenceLine, is_below_lookup, reference_lines
from .row import Row, plain_rows
from .statistics import Contender, Pairs, TableStatistics, table_statistics

SMOKE_STEPS = 100
HARDWARE = ("device", "execution", "threads")  # options of the trainer that no table shares


class DisputeError(ValueError):
    """No record of a table counts, as all differ from another one; the message names them."""


@dataclass(frozen=True)
class Table:
    """Comparable runs, the best row first. `notes` must be read with the numbers, `caption` says what the numbers are."""

    title: str
    selection: str
    metric: Metric  # orders the rows; statistics are of it
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    longer: tuple[FinishedRun, ...]  # runs that differ from those of the table in having twice the rounds
    smoke: bool
    not_ranked: tuple[str, ...]  # why rows have no ranks; empty where they have
    headline: str  # who leads, by how much, and whether that is settled
    notes: tuple[str, ...]
    caption: tuple[str, ...]
    facts: tuple[str, ...]  # sites, data, training, records: "Name: ..."
    lines: tuple[ReferenceLine, ...]  # what needs no training, and the noise ceiling
    pairs: Pairs | None = None  # of the methods; None where no significance is drawn
    left: Mapping[int, str] = field(default_factory=dict)  # positions of the rows that no family has, and why

    def statistics(self, metric: str) -> TableStatistics:
        """The statistics by one of records.METRICS, of the rows in this table's order.

        Raises RecordError where a run was not scored by the metric.
        """
        if metric not in self._by_metric:
            own = Metric.of(metric)
            matrices = [row.matrices.get(metric) or row.matrix_of(self.selection, own) for row in self.rows]
            rows = [
                replace(row, metric=own, matrices={metric: matrix} if matrix else {})
                for row, matrix in zip(self.rows, matrices, strict=True)
            ]
            self._by_metric[metric] = table_statistics(contenders(rows))
        return self._by_metric[metric]

    def margins(self, metric: str) -> list[float | None]:
        """Half of the 95 % interval of each row's mean, by a metric that rows show; None where there is none, as with a single
        seed."""
        if metric == self.metric.column:
            return [row.statistics.margin if row.statistics else None for row in self.rows]
        return margins([row.matrices.get(metric) for row in self.rows])

    @cached_property
    def _by_metric(self) -> dict[str, TableStatistics]:
        return {}

    @property
    def record(self) -> Record:
        """The record of one run, for what all runs of the table have in common."""
        return self.rows[0].runs[0].record

    @property
    def simulated(self) -> bool:
        """Whether its pictures show nobody."""
        return all(run.record.simulated for row in self.rows for run in row.runs)

    @property
    def scenario(self) -> dict[str, Any]:
        """The scenario of all runs, as in their identity."""
        scenario: dict[str, Any] = self.record.identity["scenario"]
        return scenario


def tables(runs: Iterable[FinishedRun], selection: str = "selected", metric: str = "psnr") -> list[Table]:
    """Every table that can be made of the runs, by title.

    `selection` is "selected" (by validation), "last" (round) or a probe; `metric`, a column of `scores.csv`, orders the rows.
    Raises RecordError where a run was not scored by the metric.
    """
    groups: dict[str, list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: run.record.run):
        groups.setdefault(canonical(comparable(run.record)), []).append(run)
    for split in (one_training_set_a_seed, one_hardware_a_dispute):
        apart = [split(key, shared) for key, shared in groups.items()]
        groups = {key: [*part] for own in apart for key, part in own.items()}
    keys = sorted(groups)
    titled = zip(titles([_with_dataset(key, groups[key]) for key in keys]), keys, strict=True)
    made = []
    for title, key in sorted(titled):
        longer = groups.get(_with_twice_the_rounds(key), ())
        left: Sequence[FinishedRun] = groups[key]
        while left:
            try:
                made.append(build(title, left, selection, Metric.of(metric), longer))
                break
            except (DisputeError, StatsError) as error:
                left = _of_most(title, left, error)
    return made


def _of_most(title: str, runs: Sequence[FinishedRun], error: DisputeError | StatsError) -> list[FinishedRun]:
    """Where test subjects differ, the runs that have those which most have; else none. Says what is left out."""
    apart: dict[object, list[FinishedRun]] = {}
    for run in runs if isinstance(error, StatsError) else ():
        apart.setdefault(run.test_subjects, []).append(run)
    most = max(apart.values(), key=len, default=[])
    if not len(runs) > len(most) > len(runs) / 2:
        print(f"fedsynth: left out: the table {title}: {error}", file=sys.stderr)
        return []
    for run in runs:
        if run not in most:
            told = f"its test subjects are not those of {len(most)} other runs of {title} on the same data"
            print(f"fedsynth: left out: {run.record.run}: {told}; ask for it anew, or train it again", file=sys.stderr)
    return most


def _with_dataset(key: str, runs: Sequence[FinishedRun]) -> dict[str, Any]:
    """What runs have in common, with the name of their data set; several laboratories may call it differently."""
    shared: dict[str, Any] = json.loads(key)
    names = sorted({run.record.identity["dataset"]["name"] for run in runs})
    return shared | {"dataset": {"name": "/".join(names), **shared["dataset"]}}


def _with_twice_the_rounds(key: str) -> str:
    """What runs have in common that differ from those of a table in having twice the rounds."""
    shared = json.loads(key)
    return canonical(shared | {"trainer": shared["trainer"] | {"rounds": 2 * shared["trainer"]["rounds"]}})


def one_training_set_a_seed(key: str, runs: Sequence[FinishedRun]) -> dict[str, Sequence[FinishedRun]]:
    """Comparable runs as they are if every seed has one set of training data, else apart by their data; `key` is what they share,
    and so are the new keys, as JSON."""
    trained = {(run.record.identity["seed"], *sorted(run.record.identity["data"].items())) for run in runs}
    if len(trained) == len({seed for seed, *_ in trained}):
        return {key: runs}
    apart: dict[str, list[FinishedRun]] = {}
    for run in runs:
        apart.setdefault(canonical(json.loads(key) | {"data": run.record.identity["data"]}), []).append(run)
    return dict(apart)


def one_hardware_a_dispute(key: str, runs: Sequence[FinishedRun]) -> dict[str, Sequence[FinishedRun]]:
    """Comparable runs as they are, unless two of one row and seed have different scores and were asked for on different hardware:
    then apart by it."""
    asked = [tuple(run.record.identity["trainer"].get(option) for option in HARDWARE) for run in runs]
    if len({*asked}) == 1 or not any(entry.disputed for entry in entries(runs)):
        return {key: runs}
    shared, apart = json.loads(key), dict[str, list[FinishedRun]]()
    for run, own in zip(runs, asked, strict=True):
        trainer = shared["trainer"] | dict(zip(HARDWARE, own, strict=True))
        apart.setdefault(canonical(shared | {"trainer": trainer}), []).append(run)
    return dict(apart)


def comparable(record: Record) -> dict[str, Any]:
    """What all runs of a table have in common: of a data set neither its name nor, where its images are stored, its code. The
    cohort of a run is "seed" if the seed draws it."""
    identity = record.identity
    trainer = {name: value for name, value in identity["trainer"].items() if name not in {*ELSEWHERE, *OWN}}
    parts = ("numerics", "test", *MOVING)
    shared = {part: identity[part] for part in parts if part in identity}  # MOVING is younger than some records
    dataset = {name: value for name, value in identity["dataset"].items() if name != "name"}
    cohort = identity["scenario"]["cohort"]
    scenario = identity["scenario"] | {"cohort": "seed" if cohort == identity["seed"] else cohort}
    code = identity["code"].get("dataset", "")
    shared |= {"salts": record.salts} if record.salts else {}  # under another salt nobody knows which subject is which
    return shared | {"dataset": dataset, "scenario": scenario, "trainer": trainer, "code": code}


def contestant(record: Record) -> dict[str, Any]:
    """What all runs of a row have in common, beside what those of its table have."""
    own = {name: record.identity["trainer"][name] for name in OWN}
    return {part: record.identity[part] for part in ("method", "network", "code")} | own


def row_and_seed(record: Record) -> str:
    """What only records of one row and seed have in common."""
    own = comparable(record), contestant(record), record.identity["data"], record.identity["seed"]
    return canonical(own)


def build(
    title: str, runs: Sequence[FinishedRun], selection: str, metric: Metric, longer: Sequence[FinishedRun] = ()
) -> Table:
    """The table of comparable runs. `longer`: runs that differ from these in having twice the rounds.

    Raises DisputeError where none of them counts.
    """
    everyone = entries(runs)
    disputes = [dispute(*names) for entry in everyone for names in entry.disputed.values()]
    if not (whole := [entry for entry in everyone if entry.runs]):
        raise DisputeError("; ".join(disputes))
    kept = [run.record for entry in whole for run in entry.runs]
    seeds = sorted({record.identity["seed"] for record in kept}.union(*(entry.disputed for entry in whole)))
    names = Names.of([entry.runs[0].record for entry in whole])
    rows = [
        Row.of(entry.runs, method, network, seeds, selection, metric, tuple(entry.disputed))
        for entry, method, network in zip(whole, names.methods, names.networks, strict=True)
    ]
    lines = reference_lines(kept, selection)
    rows = [replace(row, below_lookup=is_below_lookup(row, lines, metric)) for row in rows]
    rows = _ordered(rows, metric)
    found = table_statistics(contenders(rows))
    rows = [
        replace(row, statistics=statistics, left=found.left.get(number, ""))
        for number, (row, statistics) in enumerate(zip(rows, found.rows, strict=True))
    ]
    rows, not_ranked = _ranked(rows, found.pairs, longer)
    policies = {row.policy for row in rows}
    policy = policies.pop() if len(policies) == 1 else ""
    lettered = any(own.letters for own in found.rows if own)
    smoke = kept[0].local_steps < SMOKE_STEPS
    return Table(
        title=f"{title}: smoke run" if smoke else title,
        selection=selection,
        metric=metric,
        rows=tuple(rows),
        seeds=tuple(seeds),
        longer=tuple(longer),
        smoke=smoke,
        not_ranked=not_ranked,
        headline=headline(rows, metric, not_ranked),
        notes=(
            *notes(rows, names, not_ranked, metric),
            *(f"{told}." for told in disputes),
            *found.reasons,
        ),
        caption=tuple(caption(kept, selection, metric, len(rows) > 1, lettered)),
        facts=tuple(facts(kept, names, policy)),
        lines=lines,
        pairs=found.pairs,
        left=found.left,
    )


class Entry(NamedTuple):
    """The runs of a row."""

    runs: list[FinishedRun]  # that count, one a seed, by seed
    disputed: dict[int, list[str]]  # seed -> its runs, of which none counts


def entries(runs: Sequence[FinishedRun]) -> list[Entry]:
    """The runs of each row. Records of one row and seed count once if they agree, and else not at all."""
    found: dict[str, dict[int, list[FinishedRun]]] = {}
    for run in runs:
        of_row = found.setdefault(canonical(contestant(run.record)), {})
        of_row.setdefault(run.record.identity["seed"], []).append(run)
    return [_entry(own) for _, own in sorted(found.items())]


def _entry(by_seed: Mapping[int, Sequence[FinishedRun]]) -> Entry:
    counting = {seed: agreed(by_seed[seed]) for seed in sorted(by_seed)}
    disputed = {seed: [run.record.run for run in by_seed[seed]] for seed, run in counting.items() if run is None}
    return Entry([run for run in counting.values() if run], disputed)


def _ranked(
    rows: Sequence[Row], pairs: Pairs | None, longer: Sequence[FinishedRun]
) -> tuple[list[Row], tuple[str, ...]]:
    """The rows with their ranks, or without and the reasons why. Rows that have left the families have none."""
    family = [rows[number] for number in pairs.rows] if pairs else [row for row in rows if may_be_ranked(row)]
    trained_on = {canonical(contestant(own.runs[0].record)): own.runs for own in entries(longer) if own.runs}
    matching = [
        [
            run
            for run in trained_on.get(canonical(contestant(row.runs[0].record)), ())
            if run.record.identity["seed"] in row.seeds
        ]
        for row in family
    ]
    reasons = reasons_against_ranks(family, matching)
    if reasons or not pairs:
        return list(rows), reasons
    ranks = dict(zip(pairs.rows, rank_intervals(pairs.significant & (pairs.difference > 0)), strict=True))
    return [replace(row, rank=ranks.get(number)) for number, row in enumerate(rows)], ()


def _ordered(rows: Sequence[Row], metric: Metric) -> list[Row]:
    """The rows by their mean, the best first. Rows with diverged seeds come after those without, rows without a score last."""

    def order(row: Row) -> tuple[bool, float, float]:
        share, score = row.diverged / len(row.seeds), row.scores.get(metric.column)
        return (True, 0, 0) if score is None else (False, share, -metric.sign * round(score.mean, metric.digits))

    return sorted(rows, key=lambda row: (order(row), row.method, row.network))


def contenders(rows: Sequence[Row]) -> list[Contender]:
    """The rows, best first, with the plain `local`, `fedavg` and `pooled` on the network of each."""
    plain = {id(row) for row in plain_rows(rows)}
    one_network = len({row.network for row in rows}) == 1

    def leaves(row: Row) -> str:
        if row.diverged:
            return f"{row.diverged} of {len(row.seeds)} seeds diverged"
        return "" if id(row) in plain else "ablation"

    def control(row: Row, method: str) -> int | None:
        fitting = [
            position
            for position, other in enumerate(rows)
            if other.matrix and other.identity["method"]["name"] == method and _network(other) == _network(row)
        ]
        position = min(fitting, key=lambda position: rows[position].changes, default=None)
        return None if position is None or rows[position] is row else position

    return [
        Contender(
            row.matrix,
            local=control(row, "local"),
            fedavg=control(row, "fedavg"),
            pooled=control(row, "pooled"),
            name=row.method if one_network else row.full_name,
            leaves=leaves(row),
        )
        for row in rows
    ]


def _network(row: Row) -> dict[str, Any]:
    """The network of a row, with its options and code."""
    return {"options": row.identity["network"], "code": row.code["network"]}
