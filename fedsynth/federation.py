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


class Task(NamedTuple):
    """Synthesise `target` from `source`, both contrasts of one slice. Written `T1->T2`."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}->{self.target}"

    @classmethod
    def parse(cls, text: str) -> Task:
        source, arrow, target = (part.strip() for part in text.partition("->"))
        if not (arrow and source and target) or source == target or "." in text:
            raise FederationError(
                f"task {text!r} is not of the form SOURCE->TARGET with two different contrasts, such as T1->T2"
            )
        return cls(source, target)


class Columns(NamedTuple):
    """The columns of a code: a one-hot of `sites` for the site, then one of `contrasts` for the source, one for the target."""

    sites: int
    contrasts: int

    @property
    def length(self) -> int:
        return self.sites + 2 * self.contrasts


@dataclass(frozen=True)
class Subject:
    """One person at one site: co-registered slices of every contrast of the site, all in one split."""

    name: str
    split: str
    slices: slice  # rows of the site's arrays


@dataclass(frozen=True, eq=False)
class Site:
    """A hospital's slices. `images` float16 `[N, C, H, W]` in [-1, 1], `masks` bool `[N, H, W]`, subjects in row order."""

    name: str
    contrasts: tuple[str, ...]
    images: np.ndarray
    masks: np.ndarray
    subjects: tuple[Subject, ...]

    def __post_init__(self) -> None:
        n, c = self.images.shape[:2]
        if c != len(self.contrasts) or self.masks.shape != (n, *self.images.shape[2:]):
            raise FederationError(
                f"site {self.name}: images {self.images.shape} and masks {self.masks.shape} do not fit contrasts {self.contrasts}"
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
        return cls(
            index["name"],
            tuple(index["contrasts"]),
            np.load(folder / "images.npy", mmap_mode="r"),
            np.load(folder / "masks.npy", mmap_mode="r"),
            tuple(Subject(name, split, slice(start, stop)) for name, split, start, stop in index["subjects"]),
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
    poisoned: float = (
        0.0  # share of the sites, the last by name, that upload the opposite of what they learnt; not scored
    )
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
    part in training; each has one of the spare columns of the code."""

    sites: Mapping[str, Site]
    tasks: Mapping[str, tuple[Task, ...]]
    spare_sites: int = 0
    newcomers: Mapping[str, tuple[Task, ...]] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(sorted(self.tasks)))
        everyone = {**self.tasks, **self.newcomers}
        if len(self.newcomers) > self.spare_sites:
            raise FederationError(
                f"{len(self.newcomers)} newcomers need as many free columns of the code; spare_sites is {self.spare_sites}"
            )
        for name in sorted(everyone):
            site = self.sites[name]
            for split in SPLITS:
                if not site.of(split):
                    raise FederationError(
                        f"site {name}: no subject in its {split} split; every site needs some in each of {SPLITS}"
                    )
            for task in (*everyone[name], *self.asked(name)):
                if unknown := [contrast for contrast in task if contrast not in self.contrasts]:
                    raise FederationError(
                        f"site {name}: no site of the federation trains with {unknown[0]}, so task {task} is foreign"
                    )
                if missing := [contrast for contrast in task if contrast not in site.contrasts]:
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
        used = {contrast for tasks in self.tasks.values() for task in tasks for contrast in task}
        return tuple(c for c in CONTRASTS if c in used) + tuple(sorted(used - set(CONTRASTS)))

    @property
    def columns(self) -> Columns:
        return Columns(len(self.names) + self.spare_sites, len(self.contrasts))

    def code(self, site: str, task: Task) -> np.ndarray:
        """Site, source and target one-hots, float32 `[columns.length]`; newcomers have the columns after the sites'."""
        code = np.zeros(self.columns.length, np.float32)
        start = self.columns.sites
        code[[*self.names, *sorted(self.newcomers)].index(site)] = 1
        code[start + self.contrasts.index(task.source)] = 1
        code[start + len(self.contrasts) + self.contrasts.index(task.target)] = 1
        return code

    def all_tasks(self, names: Iterable[str] | None = None) -> tuple[Task, ...]:
        """Every task of the named sites (all by default), once each, sorted."""
        return tuple(sorted({task for name in (names or self.names) for task in self.tasks[name]}))
