"""The leaderboard as a pure function of finished runs: which of them may be compared, their averages, their order.

Runs share a table when they had the same scenario, data and training budget. A row is a method and a network with their
options and code, averaged over seeds. Sums are exact (`math.fsum`), so a table comes out the same on every machine.

A table is a *smoke run* and ranks nothing where fewer than STEPS local steps a site were trained, or a site has fewer than
TEST_SUBJECTS or VAL_SUBJECTS: training would still change the order, or the mean and the selected round hang on single
subjects. (The released pFLSynth code trains 150 epochs of at least 2,500 slices at each site whose number it tells.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from fedsynth.options import TrainerOptions

from .caption import ELSEWHERE, OWN, caption, labels, notes, shared_options, titles
from .records import Record, Rows, canonical, read_curve, read_scores
from .store import Store

STEPS, TEST_SUBJECTS, VAL_SUBJECTS = 10_000, 20, 5
DECIMALS = 2  # of PSNR, dB, as printed

Place = tuple[str, str]  # site, task


@dataclass(frozen=True)
class Finished:
    """A finished run. Its tables are read when they are asked for, so that thousands of runs fit into memory."""

    record: Record
    folder: Path

    @classmethod
    def read(cls, store: Store, record: Record) -> Finished:
        return cls(record, store.folder(record.run))

    @property
    def scores(self) -> Rows:
        return read_scores(self.folder)

    @property
    def curve(self) -> Rows:
        return read_curve(self.folder)


@dataclass(frozen=True)
class Score:
    """A metric of a row: its mean over site-tasks and seeds, their spread over seeds, and the mean of every site-task."""

    mean: float
    sd: float | None  # over seeds, of the mean over site-tasks; None for one seed
    places: dict[Place, float]

    @classmethod
    def of(cls, seeds: Sequence[Rows], metric: str, scale: float = 1) -> Score:
        """From the scores of each seed: the mean over subjects, then site-tasks, then seeds."""
        means = [by_place(rows, metric, scale) for rows in seeds]
        overall = [fmean(places.values()) for places in means]
        spread = stdev(overall) if len(overall) > 1 else None
        return cls(fmean(overall), spread, {place: fmean(places[place] for places in means) for place in means[0]})


def by_place(rows: Rows, metric: str, scale: float) -> dict[Place, float]:
    """The mean over test subjects of every site and task, sorted."""
    found: dict[Place, list[float]] = {}
    for row in rows:
        found.setdefault((row["site"], row["task"]), []).append(scale * row[metric])
    return {place: fmean(found[place]) for place in sorted(found)}


@dataclass(frozen=True)
class Row:
    """A method on a network. A row with a hole has neither scores nor rank, a row of a smoke run no rank."""

    method: str  # name, changed options and, where it tells rows apart, code
    network: str
    runs: tuple[Finished, ...]  # one a seed, by seed
    missing: tuple[int, ...]  # seeds that other rows of the table have
    psnr: Score | None  # dB
    ssim: Score | None  # x 100
    bytes_up: float  # a site and round
    bytes_down: float
    rank: int | None = None

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
    selection: str  # whose scores, one of records.SELECTIONS
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    smoke: bool
    notes: tuple[str, ...]
    caption: tuple[str, ...]


def tables(runs: Iterable[Finished], selection: str = "selected") -> list[Table]:
    """Every table that can be made of the runs, by title; `selection` is "selected" (by validation) or "last" (round)."""
    groups: dict[str, list[Finished]] = {}
    for run in sorted(runs, key=lambda run: (run.record.finished, run.record.run)):
        groups.setdefault(canonical(comparable(run.record)), []).append(run)
    keys = sorted(groups)
    found = zip(titles([comparable(groups[key][0].record) for key in keys]), keys, strict=True)
    return [build(title, groups[key], selection) for title, key in sorted(found)]


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


def build(title: str, runs: Sequence[Finished], selection: str) -> Table:
    """The table of comparable runs, given oldest first: the newest of a row and seed counts."""
    newest: dict[str, dict[int, Finished]] = {}
    for run in runs:
        newest.setdefault(canonical(contestant(run.record)), {})[run.record.identity["seed"]] = run
    entries = [[own[seed] for seed in sorted(own)] for _, own in sorted(newest.items())]
    kept = [run.record for entry in entries for run in entry]
    seeds = sorted({record.identity["seed"] for record in kept})
    heads = [entry[0].record for entry in entries]
    methods, networks = labels(heads, "method", {}), labels(heads, "network", shared_options(heads))
    rows = [
        average(own, method, network, seeds, selection)
        for own, method, network in zip(entries, methods, networks, strict=True)
    ]
    small = too_small(kept[0])
    rows = ordered(rows, ranks=not small)
    return Table(
        title=f"{title}: smoke run" if small else title,
        selection=selection,
        rows=tuple(rows),
        seeds=tuple(seeds),
        smoke=bool(small),
        notes=tuple(notes(rows, seeds, small, len(runs) - len(kept))),
        caption=tuple(caption(kept, alike(networks), alike([row.policy for row in rows]), selection)),
    )


def average(runs: Sequence[Finished], method: str, network: str, seeds: Sequence[int], selection: str) -> Row:
    """A row without rank from the runs of its seeds; `seeds` are those of the table."""
    missing = tuple(sorted(set(seeds) - {run.record.identity["seed"] for run in runs}))
    psnr = ssim = None
    if not missing:
        scores = [[row for row in run.scores if row["selection"] == selection] for run in runs]
        psnr, ssim = Score.of(scores, "psnr"), Score.of(scores, "ssim", scale=100)
    traffic = [(row["bytes_up"], row["bytes_down"]) for run in runs for row in run.curve]
    up, down = map(fmean, zip(*traffic, strict=True))
    return Row(method, network, tuple(runs), missing, psnr, ssim, up, down)


def ordered(rows: Sequence[Row], ranks: bool) -> list[Row]:
    """Rows by mean PSNR, those with diverged seeds after those without, rows with holes at the end and without rank.

    Rows whose PSNR is the same as printed share a rank.
    """

    def standing(row: Row) -> tuple[bool, float, float]:
        share = row.diverged / len(row.seeds)
        return (True, 0, 0) if row.psnr is None else (False, share, -round(row.psnr.mean, DECIMALS))

    found = sorted(rows, key=lambda row: (standing(row), row.method, row.network))
    places = [standing(row) for row in found]
    return [
        replace(row, rank=places.index(place) + 1) if ranks and row.psnr else row
        for row, place in zip(found, places, strict=True)
    ]


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
