"""Who takes part in a run, with which tasks and under which conditions: all that a party knows of the others. No data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import floor

import numpy as np

from .task import Columns, Task, contrast_order


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
        absent: Site -> the rounds, from 1, in which it is away, although it was drawn: as a site that died in them.
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
    absent: dict[str, list[int]] = field(default_factory=dict)
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
class Roster:
    """The sites of one run and their tasks. The order in which they are listed changes nothing.

    Args:
        tasks: Name -> the tasks of each site that trains.
        newcomers: Name -> the tasks of each site that takes no part in training. In the code it has a column after the sites'.
        conditions: What goes wrong, and what else is scored.

    Attributes:
        names: The sites that train, sorted.
    """

    tasks: Mapping[str, tuple[Task, ...]]
    newcomers: Mapping[str, tuple[Task, ...]] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(sorted(self.tasks)))

    @cached_property
    def poisoned(self) -> frozenset[str]:
        """The sites that upload the opposite of what they learnt."""
        return frozenset(self.conditions.corrupt(self.names))

    def asked(self, name: str) -> tuple[Task, ...]:
        """The tasks that a site asks for and never trains."""
        return tuple(sorted(map(Task.parse, self.conditions.asks.get(name, ()))))

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
