"""A federation: the sites of one run, with their tasks and under their conditions. Plain data, no learning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import floor

import numpy as np

from .site import SPLITS, Site
from .task import Columns, FederationError, Task, contrast_order


def exact(share: float) -> Fraction:
    """A share as the decimal number that was typed: 0.29 of 100 is 29, and not a little less."""
    return Fraction(str(share))


def count_of(share: float, total: int) -> int:
    """How many of so many sites a share is; a half is rounded up. Everything that counts sites asks here.

    Example:
        >>> count_of(0.29, 100), count_of(0.33, 3), count_of(0.1, 4)
        (29, 1, 0)
    """
    return floor(exact(share) * total + Fraction(1, 2))


@dataclass(kw_only=True)
class Conditions:
    """What may go wrong in a round, and what is scored at the end besides every site's own tasks (evaluation/generalisation.py).

    With the defaults every site trains in every round, and nothing else is scored.

    Args:
        fail: The probability that a site is away in a round: it receives nothing, does not train, and sends nothing.
        lose: The probability that the upload of a site is lost on the way: it received and trained, and keeps what is its own.
        straggle: The probability that a site does only a share of its local steps in a round; the share is drawn evenly.
        joins: Site -> the share of the rounds after which it joins.
        poisoned: The share of the sites, the last by name, that upload the opposite of their change; they are not scored.
        asks: Site -> tasks that it asks for and never trains.
        across: Whether the model that serves a site is scored at every other site too.
        adapt: The numbers of training subjects on which a newcomer adapts.
        adapt_steps: The local steps by which it adapts, at the learning rate of the first round.
    """

    fail: float = 0.0
    lose: float = 0.0
    straggle: float = 0.0
    joins: dict[str, float] = field(default_factory=dict)
    poisoned: float = 0.0
    asks: dict[str, list[str]] = field(default_factory=dict)
    across: bool = False
    adapt: list[int] = field(default_factory=lambda: [1, 2, 4, 8])
    adapt_steps: int = 100

    def corrupt(self, names: Iterable[str]) -> list[str]:
        """The poisoned ones of the sites that train, sorted."""
        known = sorted(names)
        return known[len(known) - count_of(self.poisoned, len(known)) :]


@dataclass(frozen=True, eq=False)
class Federation:
    """The sites of one run and their tasks. The order in which they are listed changes nothing.

    Args:
        sites: Name -> the site, of the sites that train and of the newcomers.
        tasks: Name -> the tasks of each site that trains.
        newcomers: Name -> the tasks of each site that takes no part in training. In the code it has a column after the sites'.
        conditions: What goes wrong, and what else is scored.

    Attributes:
        names: The sites that train, sorted.

    Raises:
        FederationError: A site lacks a split or a contrast, a task has a contrast that nobody trains with, or the sites' images
            have different sizes.

    Example:
        >>> from fedsynth.federation import Site, Subject
        >>> subjects = tuple(Subject(split, split, slice(row, row + 1)) for row, split in enumerate(("train", "val", "test")))
        >>> images = np.zeros((3, 2, 16, 16), np.float16)
        >>> sites = {name: Site(name, ("T1", "T2"), images, images[:, 0] > -1, subjects) for name in ("south", "north")}
        >>> federation = Federation(sites, {"south": (Task("T1", "T2"),), "north": (Task("T2", "T1"),)})
        >>> federation.names, federation.contrasts, federation.size
        (('north', 'south'), ('T1', 'T2'), (16, 16))
        >>> federation.code("south", Task("T1", "T2"))  # site, source, target
        array([0., 1., 1., 0., 0., 1.], dtype=float32)
    """

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
                        f"site {name}: no subject in its {split} split; every site needs some in each of {', '.join(SPLITS)}"
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
        """The sites that upload the opposite of what they learnt."""
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
        """The columns of the code of this federation."""
        sources = tuple(map(self.contrasts.index, self.sources))
        return Columns(len(self.names) + len(self.newcomers), len(self.contrasts), sources)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The contrasts that are a source of some task, also of a newcomer's or one that is only asked for, in the order of the
        one-hots; empty where every task has one source."""
        everyone = {**self.tasks, **self.newcomers}
        tasks = [task for name, own in everyone.items() for task in (*own, *self.asked(name))]
        if all(len(task.sources) == 1 for task in tasks):
            return ()
        return contrast_order(source for task in tasks for source in task.sources)

    def code(self, site: str, task: Task) -> np.ndarray:
        """The code of a task at a site: site, sources and target, float32 `[columns.length]`."""
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
