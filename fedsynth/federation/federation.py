"""A federation: the sites of one run with their data, their tasks and their conditions. Plain data, no learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .roster import Conditions, Roster
from .site import SPLITS, Site
from .task import FederationError, Task


@dataclass(frozen=True, eq=False, init=False)
class Federation(Roster):
    """The sites of one run and their tasks. The order in which they are listed changes nothing.

    Args:
        sites: Name -> the site, of the sites that train and of the newcomers; a hospital has its own alone.
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
        >>> import numpy as np
        >>> images = np.zeros((3, 2, 16, 16), np.float16)
        >>> sites = {name: Site(name, ("T1", "T2"), images, images[:, 0] > -1, subjects) for name in ("south", "north")}
        >>> federation = Federation(sites, {"south": (Task("T1", "T2"),), "north": (Task("T2", "T1"),)})
        >>> federation.names, federation.contrasts, federation.size
        (('north', 'south'), ('T1', 'T2'), (16, 16))
        >>> federation.code("south", Task("T1", "T2"))  # site, source, target
        array([0., 1., 1., 0., 0., 1.], dtype=float32)
    """

    sites: Mapping[str, Site] = field(kw_only=True)

    def __init__(
        self,
        sites: Mapping[str, Site],
        tasks: Mapping[str, tuple[Task, ...]],
        newcomers: Mapping[str, tuple[Task, ...]] | None = None,
        conditions: Conditions | None = None,
    ) -> None:
        super().__init__(tasks, newcomers or {}, conditions or Conditions())
        object.__setattr__(self, "sites", sites)
        everyone = {**self.tasks, **self.newcomers}
        here = sorted(everyone.keys() & sites.keys())
        for name in here:
            site = sites[name]
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
        sizes = {name: sites[name].images.shape[2:] for name in here}
        if len(set(sizes.values())) > 1:
            raise FederationError(f"sites have images of different sizes: {sizes}; prepare them at one size")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a slice, pixels."""
        height, width = next(self.sites[name] for name in self.names if name in self.sites).images.shape[2:]
        return height, width
