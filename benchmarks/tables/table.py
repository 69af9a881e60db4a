"""The leaderboard as a pure function of finished runs: which of them may be compared, their averages, their order.

Runs share a table when they had the same scenario, data and training budget. A row is a method and a network with their
options and code, averaged over seeds. `Row.scores` has a score.py `Score` of each metric shown, `Row.standing` what statistics
say of the row (standing.py), for the table's `metric`, by which the rows are ordered. columns.py makes columns of it.

A table is a *smoke run* and ranks nothing where fewer than STEPS local steps a site were trained, or a site has fewer than
TEST_SUBJECTS or VAL_SUBJECTS: training would still change the order, or the mean and the selected round hang on single
subjects. (The released pFLSynth code trains 150 epochs of at least 2,500 slices at each site whose number it tells.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import fmean
from typing import Any

from fedsynth.runtime.options import TrainerOptions

from ..records.finished import Finished
from ..records.record import Record, canonical
from ..records.score_table import ScoreTable
from ..stats.reach import NUMBERS, Curve
from ..stats.scores import Scores, StatsError
from .caption import ELSEWHERE, caption, notes, titles
from .labels import OWN, Names
from .metric import Metric
from .scores import Score
from .statistics import Contender, RowStatistics, standings

STEPS, TEST_SUBJECTS, VAL_SUBJECTS = 10_000, 20, 5
SHOWN = ("psnr", "ssim", "nmse")  # in every table, beside the metric that orders it


@dataclass(frozen=True)
class Row:
    """A method on a network. A row with a hole has neither scores nor rank, a row of a smoke run no rank."""

    method: str  # name, changed options and, where it tells rows apart, code
    network: str
    runs: tuple[Finished, ...]  # one a seed, by seed
    missing: tuple[int, ...]  # seeds that other rows of the table have
    scores: dict[str, Score]  # by metric, in the units of metric.py; without those that no subject has
    matrix: Scores | None  # of the table's metric, seeds x (site, task, subject), higher is better
    curves: tuple[Curve, ...]  # validation of every run; empty where rounds are of some of the sites only
    bytes_up: float  # a site and round
    bytes_down: float
    rank: int | None = None
    standing: RowStatistics | None = None

    @property
    def psnr(self) -> Score | None:
        """dB."""
        return self.scores.get("psnr")

    @property
    def ssim(self) -> Score | None:
        """x 100."""
        return self.scores.get("ssim")

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.record.identity["seed"] for run in self.runs)

    @property
    def diverged(self) -> int:
        """Seeds that diverged."""
        return sum(run.record.status == "diverged" for run in self.runs)

    @property
    def policy(self) -> str:
        """How buffers travel."""
        return self.runs[0].record.policy

    @property
    def code(self) -> dict[str, str]:
        """The digests of the method's, the network's and the data set's code."""
        return self.runs[0].record.identity["code"]

    def cost(self, name: str) -> float:
        """A cost of a whole run, mean over seeds; `name` is one of records.COSTS."""
        return fmean(run.record.costs[name] for run in self.runs)


@dataclass(frozen=True)
class Table:
    """Comparable runs, the best first. `notes` must be read with the numbers, `caption` says what they are."""

    title: str
    selection: str  # whose scores, one of records.SELECTIONS or a probe
    metric: Metric  # which orders the rows
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    smoke: bool
    notes: tuple[str, ...]
    caption: tuple[str, ...]


def tables(runs: Iterable[Finished], selection: str = "selected", metric: str = "psnr") -> list[Table]:
    """Every table that can be made of the runs, by title.

    `selection` is "selected" (by validation), "last" (round) or a probe; `metric`, one of records.METRICS, orders the rows.
    Raises RecordError where a run was not scored by the metric.
    """
    groups: dict[str, list[Finished]] = {}
    for run in sorted(runs, key=lambda run: (run.record.finished, run.record.run)):
        groups.setdefault(canonical(comparable(run.record)), []).append(run)
    keys = sorted(groups)
    found = zip(titles([comparable(groups[key][0].record) for key in keys]), keys, strict=True)
    return [build(title, groups[key], selection, Metric.of(metric)) for title, key in sorted(found)]


def comparable(record: Record) -> dict[str, Any]:
    """What all runs of a table have in common."""
    identity = record.identity
    trainer = {name: value for name, value in identity["trainer"].items() if name not in {*ELSEWHERE, *OWN}}
    shared = {part: identity[part] for part in ("scenario", "dataset", "data", "numerics")}
    return shared | {"trainer": trainer, "code": identity["code"]["dataset"]}


def contestant(record: Record) -> dict[str, Any]:
    """What a row stands for."""
    own = {name: record.identity["trainer"][name] for name in OWN}
    return {part: record.identity[part] for part in ("method", "network", "code")} | own


def build(title: str, runs: Sequence[Finished], selection: str, metric: Metric) -> Table:
    """The table of comparable runs, given oldest first: the newest of a row and seed counts."""
    newest: dict[str, dict[int, Finished]] = {}
    for run in runs:
        newest.setdefault(canonical(contestant(run.record)), {})[run.record.identity["seed"]] = run
    entries = [[own[seed] for seed in sorted(own)] for _, own in sorted(newest.items())]
    kept = [run.record for entry in entries for run in entry]
    seeds = sorted({record.identity["seed"] for record in kept})
    heads = [entry[0].record for entry in entries]
    names = Names.of(heads)
    rows = [
        average(own, method, network, seeds, selection, metric)
        for own, method, network in zip(entries, names.methods, names.networks, strict=True)
    ]
    small = too_small(kept[0])
    rows = ordered(rows, metric, ranks=not small)
    found, reasons = standings(contenders(rows))
    rows = [replace(row, standing=standing) for row, standing in zip(rows, found, strict=True)]
    return Table(
        title=f"{title}: smoke run" if small else title,
        selection=selection,
        metric=metric,
        rows=tuple(rows),
        seeds=tuple(seeds),
        smoke=bool(small),
        notes=(*notes(rows, names, seeds, small, len(runs) - len(kept), metric), *reasons),
        caption=tuple(caption(kept, names, alike([row.policy for row in rows]), selection, metric, len(rows) > 1)),
    )


def average(
    runs: Sequence[Finished], method: str, network: str, seeds: Sequence[int], selection: str, metric: Metric
) -> Row:
    """A row without rank and standing from the runs of its seeds; `seeds` are those of the table."""
    missing = tuple(sorted(set(seeds) - {run.record.identity["seed"] for run in runs}))
    scores: dict[str, Score] = {}
    matrix = None
    if not missing:
        shown = tuple(dict.fromkeys((metric.column, *SHOWN)))
        values = [run.values(selection, shown) for run in runs]
        for name in shown:
            if found := Score.of([own[name] for own in values], abs(Metric.of(name).scale)):
                scores[name] = found
        if metric.column in scores:
            own = {run.record.identity["seed"]: every[metric.column] for run, every in zip(runs, values, strict=True)}
            matrix = Scores.stack(own, metric.scale)
    sheets = [run.sheet("curve.csv") for run in runs]
    up, down = (fmean([*chain(*(sheet.column(name) for sheet in sheets))]) for name in ("bytes_up", "bytes_down"))
    return Row(method, network, tuple(runs), missing, scores, matrix, courses(runs, sheets), up, down)


def courses(runs: Sequence[Finished], sheets: Sequence[ScoreTable]) -> tuple[Curve, ...]:
    """The validation curves of a row's runs, or none where one run has none of all sites."""
    try:
        return tuple(
            Curve.of(sheet.index.columns["site"], {name: sheet.column(name) for name in NUMBERS}, run.tasks)
            for run, sheet in zip(runs, sheets, strict=True)
        )
    except StatsError:
        return ()


def ordered(rows: Sequence[Row], metric: Metric, ranks: bool) -> list[Row]:
    """Rows by their mean, the best first, those with diverged seeds after those without, rows without a score at the end and
    without rank.

    Rows whose means are the same as printed share a rank.
    """

    def standing(row: Row) -> tuple[bool, float, float]:
        share, score = row.diverged / len(row.seeds), row.scores.get(metric.column)
        return (True, 0, 0) if score is None else (False, share, -metric.sign * round(score.mean, metric.digits))

    found = sorted(rows, key=lambda row: (standing(row), row.method, row.network))
    places = [standing(row) for row in found]
    return [
        replace(row, rank=places.index(place) + 1) if ranks and not place[0] else row
        for row, place in zip(found, places, strict=True)
    ]


def contenders(rows: Sequence[Row]) -> list[Contender]:
    """The rows, best first, with the best `local` and `pooled` on the network of each."""

    def control(row: Row, method: str) -> int | None:
        network = ran_on(row)
        fitting = (
            place
            for place, other in enumerate(rows)
            if other.matrix and other.runs[0].record.identity["method"]["name"] == method and ran_on(other) == network
        )
        place = next(fitting, None)
        return None if place is None or rows[place] is row else place

    return [Contender(row.matrix, control(row, "local"), control(row, "pooled")) for row in rows]


def ran_on(row: Row) -> dict[str, Any]:
    """The network of a row, with its options and code."""
    identity = row.runs[0].record.identity
    return {"options": identity["network"], "code": identity["code"]["network"]}


def too_small(record: Record) -> list[str]:
    """Why runs like this one rank nothing; empty if they may."""
    trainer, sizes = record.identity["trainer"], record.data["subjects_and_slices"].values()
    budget = TrainerOptions(**{name: trainer[name] for name in ("local_epochs", "local_steps", "batch")})
    steps = min(budget.steps(splits["train"][1]) for splits in sizes) * trainer["rounds"] * trainer["participation"]
    found = {
        "local steps a site": (steps, STEPS),
        "test subjects a site": (min(splits["test"][0] for splits in sizes), TEST_SUBJECTS),
        "validation subjects a site": (min(splits["val"][0] for splits in sizes), VAL_SUBJECTS),
    }
    return [f"{name}: {value:,.0f} (ranks need {least:,})" for name, (value, least) in found.items() if value < least]


def alike(values: Sequence[str]) -> str:
    """The value that all share, or nothing."""
    return values[0] if len(set(values)) == 1 else ""
