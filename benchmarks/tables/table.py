"""The tables of finished runs: which runs may be compared, in which rows, and in which order.

Runs share a table when they had the same scenario, data and training budget. A row is a method and a network with their
options and code, averaged over seeds (row.py); statistics.py says how sure its score is, and columns.py prints it.

A table is a *smoke run* and ranks nothing where fewer than STEPS local steps a site were trained, or a site has fewer than
TEST_SUBJECTS or VAL_SUBJECTS: training would still change the order, or the mean and the selected round would depend on single
subjects. (The released pFLSynth code trains 150 epochs of at least 2,500 slices at each site for which it gives a number.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fedsynth.runtime.options import TrainerOptions

from ..records.finished import FinishedRun
from ..records.record import Record, canonical
from .caption import ELSEWHERE, caption, notes, titles
from .labels import MOVING, OWN, Names
from .metric import Metric
from .reference_lines import ReferenceLine, is_below_lookup, reference_lines
from .row import Row
from .statistics import Contender, row_statistics

STEPS, TEST_SUBJECTS, VAL_SUBJECTS = 10_000, 20, 5


@dataclass(frozen=True)
class Table:
    """Comparable runs, the best row first. `notes` must be read with the numbers, `caption` says what the numbers are."""

    title: str
    selection: str
    metric: Metric  # orders the rows; statistics are of it
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    smoke: bool
    notes: tuple[str, ...]
    caption: tuple[str, ...]
    lines: tuple[ReferenceLine, ...]  # what needs no training, and the noise ceiling

    @property
    def record(self) -> Record:
        """The record of one run, for what all runs of the table have in common."""
        return self.rows[0].runs[0].record

    @property
    def scenario(self) -> dict[str, Any]:
        """The scenario of all runs, as in their identity."""
        scenario: dict[str, Any] = self.record.identity["scenario"]
        return scenario


def tables(runs: Iterable[FinishedRun], selection: str = "selected", metric: str = "psnr") -> list[Table]:
    """Every table that can be made of the runs, by title.

    `selection` is "selected" (by validation), "last" (round) or a probe; `metric`, one of records.METRICS, orders the rows.
    Raises RecordError where a run was not scored by the metric.
    """
    groups: dict[str, list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: (run.record.finished, run.record.run)):
        groups.setdefault(canonical(comparable(run.record)), []).append(run)
    keys = sorted(groups)
    titled = zip(titles([comparable(groups[key][0].record) for key in keys]), keys, strict=True)
    return [build(title, groups[key], selection, Metric.of(metric)) for title, key in sorted(titled)]


def comparable(record: Record) -> dict[str, Any]:
    """What all runs of a table have in common."""
    identity = record.identity
    trainer = {name: value for name, value in identity["trainer"].items() if name not in {*ELSEWHERE, *OWN}}
    parts = ("scenario", "dataset", "data", "numerics", *MOVING)
    shared = {part: identity[part] for part in parts if part in identity}  # MOVING is younger than some records
    return shared | {"trainer": trainer, "code": identity["code"]["dataset"]}


def contestant(record: Record) -> dict[str, Any]:
    """What all runs of a row have in common, beside what those of its table have."""
    own = {name: record.identity["trainer"][name] for name in OWN}
    return {part: record.identity[part] for part in ("method", "network", "code")} | own


def build(title: str, runs: Sequence[FinishedRun], selection: str, metric: Metric) -> Table:
    """The table of comparable runs, given oldest first: of the runs of one row and seed, the newest counts."""
    newest: dict[str, dict[int, FinishedRun]] = {}
    for run in runs:
        newest.setdefault(canonical(contestant(run.record)), {})[run.record.identity["seed"]] = run
    entries = [[own[seed] for seed in sorted(own)] for _, own in sorted(newest.items())]
    kept = [run.record for entry in entries for run in entry]
    seeds = sorted({record.identity["seed"] for record in kept})
    names = Names.of([entry[0].record for entry in entries])
    rows = [
        Row.of(own, method, network, seeds, selection, metric)
        for own, method, network in zip(entries, names.methods, names.networks, strict=True)
    ]
    lines = reference_lines(kept, selection)
    rows = [replace(row, below_lookup=is_below_lookup(row, lines, metric)) for row in rows]
    small = too_small(kept[0])
    rows = _ordered(rows, metric, ranks=not small)
    found, reasons = row_statistics(contenders(rows))
    rows = [replace(row, statistics=statistics) for row, statistics in zip(rows, found, strict=True)]
    policies = {row.policy for row in rows}
    policy = policies.pop() if len(policies) == 1 else ""
    return Table(
        title=f"{title}: smoke run" if small else title,
        selection=selection,
        metric=metric,
        rows=tuple(rows),
        seeds=tuple(seeds),
        smoke=bool(small),
        notes=(*notes(rows, names, seeds, small, len(runs) - len(kept), metric), *reasons),
        caption=tuple(caption(kept, names, policy, selection, metric, len(rows) > 1)),
        lines=lines,
    )


def _ordered(rows: Sequence[Row], metric: Metric, ranks: bool) -> list[Row]:
    """The rows by their mean, the best first. Rows with diverged seeds come after those without, and rows without a score come
    last and have no rank.

    Rows whose means are the same as printed share a rank.
    """

    def order(row: Row) -> tuple[bool, float, float]:
        share, score = row.diverged / len(row.seeds), row.scores.get(metric.column)
        return (True, 0, 0) if score is None else (False, share, -metric.sign * round(score.mean, metric.digits))

    found = sorted(rows, key=lambda row: (order(row), row.method, row.network))
    keys = [order(row) for row in found]
    return [
        replace(row, rank=keys.index(key) + 1) if ranks and not key[0] else row
        for row, key in zip(found, keys, strict=True)
    ]


def contenders(rows: Sequence[Row]) -> list[Contender]:
    """The rows, best first, with the best `local` and `pooled` on the network of each."""

    def control(row: Row, method: str) -> int | None:
        network = _network(row)
        fitting = (
            position
            for position, other in enumerate(rows)
            if other.matrix and other.identity["method"]["name"] == method and _network(other) == network
        )
        position = next(fitting, None)
        return None if position is None or rows[position] is row else position

    return [Contender(row.matrix, control(row, "local"), control(row, "pooled")) for row in rows]


def _network(row: Row) -> dict[str, Any]:
    """The network of a row, with its options and code."""
    return {"options": row.identity["network"], "code": row.code["network"]}


def too_small(record: Record) -> list[str]:
    """What a site of a run has too little of for ranks; empty if the run may rank."""
    trainer, sizes = record.identity["trainer"], record.data["subjects_and_slices"].values()
    budget = TrainerOptions(**{name: trainer[name] for name in ("local_epochs", "local_steps", "batch")})
    steps = min(budget.steps(splits["train"][1]) for splits in sizes) * trainer["rounds"] * trainer["participation"]
    found = {
        "local steps": (steps, STEPS),
        "test subjects": (min(splits["test"][0] for splits in sizes), TEST_SUBJECTS),
        "validation subjects": (min(splits["val"][0] for splits in sizes), VAL_SUBJECTS),
    }
    return [f"{value:,.0f} of {least:,} {name}" for name, (value, least) in found.items() if value < least]
