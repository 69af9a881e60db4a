"""A scenario: which sites of a data set take part, with which tasks, under which conditions. Plain data, no learning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import filter as filter_names, fnmatchcase
from pathlib import Path
from typing import TypeVar

import numpy as np

from .. import streams
from ..runtime.options import check_finite
from .federation import Federation
from .intensities import Normalisation, rescaled
from .names import check_names
from .roster import Conditions, Roster
from .site import Dataset, Site
from .task import FederationError, Task

ALL, DEFAULT = "*", "default"
T = TypeVar("T")


@dataclass
class Scenario(Conditions):
    """Which sites take part, with which tasks, and under which conditions (`Conditions`, whose options it has too).

    Args:
        name: What tables call it.
        sites: The names of the sites; or only "*", which is all sites of the data set.
        tasks: Site -> its tasks, such as ["T1->T2"]. A site without an entry of its own has the first whose pattern fits it,
            such as `*ixi`, and else the entry `default`.
        newcomers: Those of the sites that train nothing and are served at the end.
        train_subjects: Site, pattern or `default` -> how many training subjects it has, the first ones of the data set.
        shift: Site, pattern or `default` -> by how many pixels its training contrasts are off the first contrast, at most.
        normalise: Site, pattern or `default` -> how it scales its intensities; sites without an entry have the data set's.
        cohort: Which training and validation subjects take part. None: those of the data set. A number draws others, with the
            same test subjects: new ones where the data are simulated, else the others divided anew. `${seed}` draws them by the
            seed of the run.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> from fedsynth import DATASETS
        >>> phantom = DATASETS["phantom"](size=16, slices=1, train=1, val=1, test=1)
        >>> scenario = Scenario("two", ["ixi", "oasis"], {"ixi": ["T1->T2", "T2->PD"], "default": ["T1->T2"]})
        >>> federation = scenario.federation(phantom, cache=Path(mkdtemp()))
        >>> [str(task) for task in federation.tasks["oasis"]]
        ['T1->T2']
    """

    name: str
    sites: list[str]
    tasks: dict[str, list[str]]
    newcomers: list[str] = field(default_factory=list)
    train_subjects: dict[str, int] = field(default_factory=dict)
    shift: dict[str, int] = field(default_factory=dict)
    normalise: dict[str, Normalisation] = field(default_factory=dict)
    cohort: int | None = None

    def resolve(self, dataset: Dataset) -> dict[str, tuple[Task, ...]]:
        """Site -> its tasks, both sorted, newcomers included: the order in which they are listed changes nothing.

        Raises:
            FederationError: The data set lacks a site or a contrast, or no federation can have these conditions.
        """
        check_finite("scenario", self)
        check_names("scenario.name", [self.name])
        owned = dataset.contrasts()
        plan: dict[str, tuple[Task, ...]] = {}
        sites = list(owned) if self.sites == [ALL] else self.sites
        for site in sorted(sites):
            if sites.count(site) > 1:
                raise FederationError(f"scenario {self.name}: site {site!r} is listed twice")
            if site not in owned:
                raise FederationError(
                    f"scenario {self.name}: no site {site!r}; the data set has {', '.join(sorted(owned))}"
                )
            texts = self.of_site(self.tasks, site)
            if not texts:
                raise FederationError(f"scenario {self.name}: site {site!r} has no task; give scenario.tasks.{site}")
            plan[site] = self._tasks(site, texts, owned[site])
        if not plan:
            raise FederationError(f"scenario {self.name} has no site; choose among {', '.join(sorted(owned))}")
        self._check(plan)
        for site, texts in self.asks.items():
            self._tasks(site, texts, owned[site])
        return plan

    def _tasks(self, site: str, texts: list[str], owned: Sequence[str]) -> tuple[Task, ...]:
        tasks = tuple(sorted(Task.parse(text) for text in texts))
        if len(set(tasks)) < len(tasks):
            raise FederationError(f"scenario {self.name}: a task of site {site!r} is listed twice: {', '.join(texts)}")
        for task in tasks:
            if missing := [contrast for contrast in task.contrasts if contrast not in owned]:
                raise FederationError(
                    f"scenario {self.name}: task {task} needs {missing[0]}, which site {site!r} lacks; "
                    f"it has {', '.join(owned)}"
                )
        return tasks

    def _check(self, plan: dict[str, tuple[Task, ...]]) -> None:
        """Raise FederationError for conditions that no federation of these sites can have."""
        named = {
            "newcomers": self.newcomers,
            "asks": self.asks,
            "absent": self.absent,
            "joins": self.joins,
            "train_subjects": self._fitting_none(self.train_subjects, plan),
            "shift": self._fitting_none(self.shift, plan),
            "normalise": self._fitting_none(self.normalise, plan),
        }
        for option, sites in named.items():
            if unknown := sorted(set(sites) - set(plan)):
                raise FederationError(
                    f"scenario {self.name}: {option} names {unknown[0]!r}, which is none of its sites: {', '.join(plan)}"
                )
        training = set(plan) - set(self.newcomers)
        poisoned = set(self.corrupt(training))
        shares = {"poisoned": self.poisoned, "fail": self.fail, "lose": self.lose, "straggle": self.straggle}
        shares |= {f"joins.{site}": share for site, share in self.joins.items()}
        for option, share in shares.items():
            if not 0 <= share < 1:
                raise FederationError(f"scenario {self.name}: {option} is {share}; it must be at least 0 and below 1")
        if not any(self.joins.get(site, 0) == 0 for site in training - poisoned):
            raise FederationError(
                f"scenario {self.name}: no site trains from the start that is not poisoned; leave one out of "
                "newcomers, joins and poisoned"
            )
        if both := sorted(set(self.newcomers) & {*self.absent, *self.joins, *self.asks}):
            raise FederationError(
                f"scenario {self.name}: {both[0]!r} is a newcomer, which trains in no round; it can be nothing else"
            )
        least = {"adapt_steps": (self.adapt_steps, 1)}
        least |= {f"train_subjects.{site}": (count, 1) for site, count in self.train_subjects.items()}
        least |= {f"shift.{site}": (pixels, 0) for site, pixels in self.shift.items()}
        least |= {f"absent.{site}": (min(rounds, default=1), 1) for site, rounds in self.absent.items()}
        least |= {"adapt": (min(self.adapt, default=1), 1)}
        for option, (value, bound) in least.items():
            if value < bound:
                raise FederationError(f"scenario {self.name}: {option} is {value}; it must be at least {bound}")

    @staticmethod
    def _fitting_none(option: Iterable[str], sites: Iterable[str]) -> list[str]:
        """The names and patterns in an option that fit no site."""
        return [name for name in option if name != DEFAULT and not filter_names(sites, name)]

    def of_site(self, option: dict[str, T], site: str) -> T | None:
        """A site's value of an option with entries for sites: by name, else by the first pattern that fits, else `default`; None
        where there is none."""
        fitting = (name for name in option if fnmatchcase(site, name))
        return option.get(site, option.get(next(fitting, DEFAULT)))

    def federation(self, dataset: Dataset, cache: Path) -> Federation:
        """The federation that the scenario makes of a data set.

        Args:
            dataset: Whose sites take part.
            cache: The folder in which the sites' arrays are kept once they are made.

        Raises:
            FederationError: The data set cannot be what the scenario asks for.
        """
        plan = self.resolve(dataset)
        sites = {name: self.site(name, dataset, cache) for name in plan}
        for name in self.newcomers:
            if (there := len(sites[name].of("train"))) < max(self.adapt, default=0):
                raise FederationError(
                    f"scenario {self.name}: newcomer {name} has {there} training subjects; scenario.adapt asks for "
                    f"{max(self.adapt)}"
                )
        return Federation(
            sites,
            {name: tasks for name, tasks in plan.items() if name not in self.newcomers},
            {name: tasks for name, tasks in plan.items() if name in self.newcomers},
            self.conditions(),
        )

    def site(self, name: str, dataset: Dataset, cache: Path) -> Site:
        """One site of the data set as it takes part."""
        site = dataset.load(name, cache) if self.cohort is None else dataset.load_cohort(name, self.cohort, cache)
        if (count := self.of_site(self.train_subjects, name)) is not None:
            site = with_few(site, count)
        if pixels := self.of_site(self.shift, name):
            site = misaligned(site, pixels)
        if how := self.of_site(self.normalise, name):
            site = rescaled(site, how)
        return site

    def conditions(self) -> Conditions:
        """What goes wrong, and what else is scored."""
        return Conditions(**{f.name: getattr(self, f.name) for f in fields(Conditions)})

    def roster(self) -> Roster:
        """Who takes part, where nobody has the data of all sites: what the scenario itself says.

        Raises:
            FederationError: It leaves that to the data.
        """
        for option, needed in {"sites": self.sites == [ALL], "newcomers": self.newcomers}.items():
            if needed:
                raise FederationError(
                    f"scenario {self.name}: scenario.{option} needs the data of all sites in one place, and here each is at its "
                    "own; name the sites in scenario.sites, and no newcomers"
                )
        texts = {name: self.of_site(self.tasks, name) or [] for name in sorted(self.sites)}
        if missing := [name for name, own in texts.items() if not own]:
            raise FederationError(
                f"scenario {self.name}: site {missing[0]!r} has no task; give scenario.tasks.{missing[0]}"
            )
        plan = {name: tuple(sorted(map(Task.parse, own))) for name, own in texts.items()}
        self._check(plan)
        return Roster(plan, {}, self.conditions())


def with_few(site: Site, count: int) -> Site:
    """The site with the first `count` of its training subjects, or all if it has no more; the other splits as they are."""
    few = {subject.name for subject in site.of("train")[:count]}
    kept = [subject for subject in site.subjects if subject.split != "train" or subject.name in few]
    if len(kept) == len(site.subjects):
        return site
    rows = np.concatenate([np.arange(subject.slices.start, subject.slices.stop) for subject in kept])
    ends = np.cumsum([subject.slices.stop - subject.slices.start for subject in kept])
    subjects = tuple(
        replace(subject, slices=slice(int(end) - (subject.slices.stop - subject.slices.start), int(end)))
        for subject, end in zip(kept, ends, strict=True)
    )
    arrays = {
        name: value[rows] for name in ("images", "masks", "lesions") if (value := getattr(site, name, None)) is not None
    }
    return replace(site, subjects=subjects, **arrays)


def misaligned(site: Site, pixels: int) -> Site:
    """The site with every contrast but the first of each training subject moved by up to so many whole pixels down and across.

    The moves are drawn from streams named by the subject; at an edge the image is continued by its outermost pixels.
    """
    images = np.array(site.images)
    for subject in site.of("train"):
        for channel in range(1, len(site.contrasts)):
            stream = streams.host("shift", site.name, subject.drawn_as or subject.name, channel)
            down, across = stream.integers(-pixels, pixels + 1, 2)
            padded = np.pad(images[subject.slices, channel], ((0, 0), (pixels, pixels), (pixels, pixels)), mode="edge")
            height, width = images.shape[2:]
            top, left = pixels - down, pixels - across
            images[subject.slices, channel] = padded[:, top : top + height, left : left + width]
    return replace(site, images=images)
