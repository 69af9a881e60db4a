"""The few slots of a device, which all sites take in turn: so that 4 or 1,024 sites need the same memory.

A site's state is copied into a slot when the site is first asked for something, and offloaded when another site needs the slot.
Sites with the same nets share slots.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Protocol

import torch
from torch import nn

from ..federation import Task
from ..runtime.options import TrainerOptions
from ..step.slot import Players, Slot
from .offload import OffloadStore, State


class Occupant(Protocol):
    """A site, as the pool of slots sees it: its tasks, which decide which nets it has; its state; whether it is in
    mid-training, so that its slot cannot be given away; the factor of its learning rates; and the nets that it starts from."""

    tasks: tuple[Task, ...]
    state: State
    at_work: bool
    factor: float
    start: Callable[[], nn.ModuleDict]


class SlotPool:
    """At most `options.resident` slots, or one for each different set of nets or for each site at work, if those are more."""

    def __init__(self, players: Players, options: TrainerOptions, offload: OffloadStore, device: torch.device) -> None:
        self._players, self._options, self._offload, self._device = players, options, offload, device
        self._taken: OrderedDict[Occupant, Slot] = OrderedDict()  # the site that was asked longest ago comes first
        self._free: list[tuple[tuple[Task, ...], Slot]] = []

    def __len__(self) -> int:
        """How many slots there are."""
        return len(self._taken) + len(self._free)

    def __contains__(self, site: Occupant) -> bool:
        """Whether the site's state is in a slot."""
        return site in self._taken

    def of(self, site: Occupant) -> Slot:
        """The site's slot, into which its state is copied if it is not there."""
        slot = self._taken.get(site)
        if slot is None:
            slot = self._give(site)
        self._taken.move_to_end(site)
        return slot

    def expect(self, site: Occupant) -> None:
        """Begin to read the state of a site that will soon be asked for something."""
        if site not in self._taken:
            self._offload.expect(site.state)

    def tree(self, site: Occupant) -> dict[str, Any] | None:
        """The state of a site that is in a slot, by reference, or in memory; None if it is on the disk."""
        return self._tree(site) if site in self._taken else self._offload.held(site.state)

    def _tree(self, site: Occupant) -> dict[str, Any]:
        slot = self._taken[site]
        return {"weights": slot.weights(), "optimizers": slot.optimizer_state()}

    def dismiss(self, site: Occupant) -> None:
        """Give up a site's state: it is not offloaded, and the site will not be asked for anything again."""
        self._free.append((site.tasks, self._taken.pop(site)))

    def vacate(self) -> None:
        """Take all sites out of their slots without offloading them: their states are read from where they were written."""
        self._free += [(site.tasks, slot) for site, slot in self._taken.items()]
        self._taken.clear()

    def _give(self, site: Occupant) -> Slot:
        slot = self._find(site) or Slot(deepcopy(site.start()), self._players, self._options, self._device)
        found = self._offload.find(site.state)
        if found is None:
            nets = site.start()
            slot.load(dict(nets.named_parameters()) | dict(nets.named_buffers()), {})
            slot.load_optimizers({})
        else:
            slot.load(**found["weights"])
            slot.load_optimizers(found["optimizers"])
        slot.received = None
        slot.rate(site.factor)
        self._taken[site] = slot
        return slot

    def _find(self, site: Occupant) -> Slot | None:
        """A slot with the nets that the site needs, or None where one is to be made.

        It is a free one; or, if no more may be made, that of the site that was asked longest ago and is not at work, which is
        offloaded.
        """
        for place, (tasks, slot) in enumerate(self._free):
            if tasks == site.tasks:
                del self._free[place]
                return slot
        if len(self) < self._options.resident:
            return None
        idle = (other for other in self._taken if not other.at_work and other.tasks == site.tasks)
        leaving = next(idle, None)
        if leaving is None:
            return None
        self._offload.keep(leaving.state, self._tree(leaving))
        return self._taken.pop(leaving)
