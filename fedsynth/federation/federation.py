"""Who has what: tasks, subjects, sites, scenarios and the federation that they make. Plain data, no learning.

Images lie in [-1, 1] as float16, `[slice, contrast, height, width]`; foreground masks are bool, `[slice, height, width]`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

SPLITS = ("train", "val", "test")
CONTRASTS = ("T1", "T2", "PD", "FLAIR")  # the order of the code's one-hots; contrasts not named here follow, by name


class FederationError(ValueError):
    """The data or the scenario cannot be what was asked for; the message says what to change."""


def contrast_order(contrasts: Iterable[str]) -> tuple[str, ...]:
    """The contrasts, once each, in the order of the code's one-hots."""
    used = set(contrasts)
    return tuple(c for c in CONTRASTS if c in used) + tuple(sorted(used - set(CONTRASTS)))


@dataclass(frozen=True, order=True)
class Task:
    """Synthesise `target` from `source`, contrasts of one slice. Written `T1->T2`, and with several sources `T1+T2->PD`, whose
    `source` is `T1+T2` in whatever order they were given."""

    source: str
    target: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", "+".join(contrast_order(self.source.split("+"))))

    def __str__(self) -> str:
        return f"{self.source}->{self.target}"

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(self.source.split("+"))

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The sources, then the target."""
        return (*self.sources, self.target)

    @classmethod
    def parse(cls, text: str) -> Task:
        source, arrow, target = (part.strip() for part in text.partition("->"))
        contrasts = [*(part.strip() for part in source.split("+")), target]
        if not (arrow and all(contrasts)) or len(set(contrasts)) < len(contrasts) or "." in text or "+" in target:
            raise FederationError(
                f"task {text!r} is not of the form SOURCE->TARGET or SOURCE+SOURCE->TARGET with different contrasts, such as "
                "T1->T2 or T1+T2->PD"
            )
        return cls("+".join(contrasts[:-1]), target)


class Columns(NamedTuple):
    """The columns of a code: a one-hot of `sites` for the site, then one of `contrasts` for each source (several 1s for a task of
    several), then a one-hot for the target. `sources`: the contrasts, by their places among these columns, that are the channels
    of `Batch.source`; empty where every task has one source, which is then the only channel."""

    sites: int
    contrasts: int
    sources: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        return self.sites + 2 * self.contrasts

    @property
    def channels(self) -> int:
        """How many channels `Batch.source` has."""
        return len(self.sources) or 1


@dataclass(frozen=True)
class Subject:
    """One person at one site: co-registered slices of every contrast of the site, all in one split."""

    name: str
    split: str
    slices: slice  # rows of the site's arrays


@dataclass(frozen=True, eq=False)
class Site:
    """A hospital's slices. `images` float16 `[N, C, H, W]` in [-1, 1], `masks` (the foreground) and, where they are known,
    `lesions` bool `[N, H, W]`, subjects in row order."""

    name: str
    contrasts: tuple[str, ...]
    images: np.ndarray
    masks: np.ndarray
    subjects: tuple[Subject, ...]
    lesions: np.ndarray | None = None

    def __post_init__(self) -> None:
        n, c = self.images.shape[:2]
        if c != len(self.contrasts) or self.masks.shape != (n, *self.images.shape[2:]):
            raise FederationError(
                f"site {self.name}: images {self.images.shape} and masks {self.masks.shape} do not fit contrasts {self.contrasts}"
            )
        if self.lesions is not None and self.lesions.shape != self.masks.shape:
            raise FederationError(
                f"site {self.name}: lesions {self.lesions.shape} do not fit masks {self.masks.shape}; give a mask a slice or None"
            )
        names = [subject.name for subject in self.subjects]
        if len(set(names)) < len(names):
            raise FederationError(
                f"site {self.name}: a subject's name occurs twice, so splits could mix: {sorted(names)}"
            )
        rows = [row for subject in self.subjects for row in range(subject.slices.start, subject.slices.stop)]
        if rows != list(range(n)):
            raise FederationError(
                f"site {self.name}: the subjects' slices do not cover its {n} rows once each, in order"
            )
        if unknown := {subject.split for subject in self.subjects} - set(SPLITS):
            raise FederationError(f"site {self.name}: unknown split {sorted(unknown)}; a subject is in one of {SPLITS}")

    def of(self, split: str) -> tuple[Subject, ...]:
        return tuple(subject for subject in self.subjects if subject.split == split)

    def rows(self, split: str) -> np.ndarray:
        """Row indices of a split's slices, int64, ascending."""
        return np.concatenate([np.arange(s.slices.start, s.slices.stop) for s in self.of(split)] or [np.arange(0)])

    def save(self, folder: Path) -> None:
        """Write the site to `folder`, all of it or nothing. A folder that is already complete is left alone."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=folder.name + ".", dir=folder.parent))
        try:
            np.save(scratch / "images.npy", self.images.astype(np.float16, copy=False))
            np.save(scratch / "masks.npy", self.masks.astype(bool, copy=False))
            if self.lesions is not None:
                np.save(scratch / "lesions.npy", self.lesions.astype(bool, copy=False))
            index = {
                "name": self.name,
                "contrasts": self.contrasts,
                "subjects": [[s.name, s.split, s.slices.start, s.slices.stop] for s in self.subjects],
            }
            (scratch / "index.json").write_text(json.dumps(index, indent=1))
            scratch.chmod(0o755)  # a cache may be shared, and mkdtemp's folders are their owner's alone
            os.rename(scratch, folder)
        except OSError:
            if not (folder / "index.json").exists():  # else another process was first, with the same arrays
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    @classmethod
    def open(cls, folder: Path) -> Site:
        """The site that `save` wrote, its arrays memory-mapped."""
        index = json.loads((folder / "index.json").read_text())
        lesions = folder / "lesions.npy"
        return cls(
            index["name"],
            tuple(index["contrasts"]),
            np.load(folder / "images.npy", mmap_mode="r"),
            np.load(folder / "masks.npy", mmap_mode="r"),
            tuple(Subject(name, split, slice(start, stop)) for name, split, start, stop in index["subjects"]),
            np.load(lesions, mmap_mode="r") if lesions.exists() else None,
        )


@dataclass
class Dataset(ABC):
    """A family of sites. A subclass is a dataclass whose fields are its options (int, float, bool, str, Enum, Optional, list)."""

    @abstractmethod
    def contrasts(self) -> Mapping[str, Sequence[str]]:
        """Site name -> contrasts that every subject there owns. Cheap: no volume is read."""

    @abstractmethod
    def fingerprint(self, site: str) -> str:
        """A digest of all that the site's arrays follow from; part of the identity of every run on them."""

    @abstractmethod
    def load(self, site: str, cache: Path) -> Site:
        """One site, from `cache` if it was made before, else made and cached there."""


@dataclass(kw_only=True)
class Conditions:
    """What happens in a federation besides that every site trains in every round, and what is scored at the end besides every
    site's own tasks (probes.py). A run without any of it is one with the defaults."""

    fail: float = 0.0  # probability that a site drops out of a round, and nothing of it arrives
    straggle: float = 0.0  # probability that a site does only a share of its local steps in a round, drawn evenly
    joins: dict[str, float] = field(default_factory=dict)  # site -> share of the rounds after which it joins
    poisoned: float = 0.0  # share of the sites, the last by name, that upload the opposite of their change; not scored
    asks: dict[str, list[str]] = field(default_factory=dict)  # site -> tasks that it asks for and never trains
    across: bool = False  # score the model that serves a site at every other site too
    adapt: list[int] = field(default_factory=lambda: [1, 2, 4, 8])  # training subjects on which a newcomer adapts
    adapt_steps: int = 100  # local steps for it, at the learning rate of the first round

    def corrupt(self, names: Iterable[str]) -> list[str]:
        """Those of the sites that train which are poisoned, sorted."""
        known = sorted(names)
        return known[len(known) - int(self.poisoned * len(known) + 0.5) :]


@dataclass(frozen=True, eq=False)
class Federation:
    """The sites of one run with their tasks, sorted by name whatever order they were listed in. `newcomers`, with theirs, take no
    part in training; each has a column of the code after the sites'."""

    sites: Mapping[str, Site]
    tasks: Mapping[str, tuple[Task, ...]]
    newcomers: Mapping[str, tuple[Task, ...]] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(sorted(self.tasks)))
        everyone = {**self.tasks, **self.newcomers}
        for name in sorted(everyone):
            site = self.sites[name]
            for split in SPLITS:
                if not site.of(split):
                    raise FederationError(
                        f"site {name}: no subject in its {split} split; every site needs some in each of {SPLITS}"
                    )
            for task in (*everyone[name], *self.asked(name)):
                if unknown := [contrast for contrast in task.contrasts if contrast not in self.contrasts]:
                    raise FederationError(
                        f"site {name}: no site of the federation trains with {unknown[0]}, so task {task} is foreign"
                    )
                if missing := [contrast for contrast in task.contrasts if contrast not in site.contrasts]:
                    raise FederationError(
                        f"site {name}: task {task} needs {missing[0]}, but its images are {', '.join(site.contrasts)}"
                    )
        sizes = {name: self.sites[name].images.shape[2:] for name in sorted(everyone)}
        if len(set(sizes.values())) > 1:
            raise FederationError(f"sites have images of different sizes: {sizes}; prepare them at one size")

    @cached_property
    def poisoned(self) -> frozenset[str]:
        """The sites that are."""
        return frozenset(self.conditions.corrupt(self.names))

    def asked(self, name: str) -> tuple[Task, ...]:
        """The tasks that a site asks for and never trains."""
        return tuple(sorted(map(Task.parse, self.conditions.asks.get(name, ()))))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a slice, pixels."""
        height, width = self.sites[self.names[0]].images.shape[2:]
        return height, width

    @cached_property
    def contrasts(self) -> tuple[str, ...]:
        """The contrasts of all tasks, in the order of their one-hots."""
        return contrast_order(
            contrast for tasks in self.tasks.values() for task in tasks for contrast in task.contrasts
        )

    @property
    def columns(self) -> Columns:
        sources = tuple(map(self.contrasts.index, self.sources))
        return Columns(len(self.names) + len(self.newcomers), len(self.contrasts), sources)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The contrasts that are a source of some task, a newcomer's and those asked for included, in the order of the one-hots;
        empty where every task has one source."""
        everyone = {**self.tasks, **self.newcomers}
        tasks = [task for name, own in everyone.items() for task in (*own, *self.asked(name))]
        if all(len(task.sources) == 1 for task in tasks):
            return ()
        return contrast_order(source for task in tasks for source in task.sources)

    def code(self, site: str, task: Task) -> np.ndarray:
        """Site, sources and target, float32 `[columns.length]`; newcomers have the columns after the sites'."""
        code = np.zeros(self.columns.length, np.float32)
        start = self.columns.sites
        code[[*self.names, *sorted(self.newcomers)].index(site)] = 1
        for source in task.sources:
            code[start + self.contrasts.index(source)] = 1
        code[start + len(self.contrasts) + self.contrasts.index(task.target)] = 1
        return code

    def all_tasks(self, names: Iterable[str] | None = None) -> tuple[Task, ...]:
        """Every task of the named sites (all by default, newcomers too), once each, sorted."""
        everyone = {**self.tasks, **self.newcomers}
        return tuple(sorted({task for name in (names or everyone) for task in everyone[name]}))
