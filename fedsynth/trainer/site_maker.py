"""The sites of a run, made on what they have in common: the nets that all start from, the plan of what travels, the slots."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from .. import streams
from ..evaluation.scores import check_metrics
from ..exchange import ContractError, Plan, leaves
from ..federation import Federation, Roster
from ..feed import Feed, fits_on
from ..method import Blueprint, Method
from ..networks.network import Generator, Network, check_stages
from ..runtime.options import Offload, TrainerOptions
from ..site import SiteState
from ..site.offload import OffloadStore
from ..site.slots import SlotPool
from ..step import Step
from .sharing import check_shares_a_part


class SiteMaker:
    """`groups`: the names of the sites that train as one, sorted; `common`: the nets that all start from; `plan`, `step`,
    `offload` and `slots`, which all sites share.

    Raises ContractError for a method that breaks its contract, ValueError for an optimiser or a metric that breaks its own.
    """

    def __init__(
        self,
        method: Method,
        network: Network,
        roster: Roster,
        options: TrainerOptions,
        seed: int,
        folder: Path,
        device: torch.device,
    ) -> None:
        self._method, self._network, self._roster = method, network, roster
        self._seed, self._device, self._own_start = seed, device, not options.common_start
        options.optimizer.check()
        if isinstance(roster, Federation):
            check_metrics(*roster.size)
        self.groups = _groups(method, roster)
        self.common = self.build()
        for _, net in leaves(self.common):
            if isinstance(net, Generator):
                check_stages(net)
        self.plan = Plan(self.common, method.travels)
        check_shares_a_part(method, self.plan, self.common, network)
        self.step = Step(type(method).__name__, options, device)
        on_disk = options.offload is Offload.disk
        self.offload = OffloadStore(folder, map("+".join, self.groups), on_disk, device)
        self.slots = SlotPool(method.players, options, self.offload, device)
        self._staged = isinstance(roster, Federation) and not fits_on(device, roster)

    def build(self, variant: int = 0) -> nn.ModuleDict:
        """All nets, as they are drawn for the seed; another variant is another draw."""
        columns, tasks = self._roster.columns, self._roster.all_tasks()
        blueprint = Blueprint(self._network, columns, tasks, self._seed, variant)
        with blueprint.weights("own"):
            return self._method.build(blueprint).to(self._device)

    def start(self, members: Sequence[str]) -> nn.ModuleDict:
        """The nets that a site starts from, or several sites that train as one: those that are common, or a draw of its own."""
        return self._view(members, self.build(streams.key(*members)) if self._own_start else self.common)

    def held(self, members: Sequence[str]) -> frozenset[str]:
        """The paths of the tensors that travel and that such a site has."""
        view = self._view(members, self.common)
        paths = {path for path, _ in (*view.named_parameters(), *view.named_buffers())}
        return frozenset(paths & {*self.plan.model.offsets, *self.plan.buffers.offsets})

    def site(
        self, members: Sequence[str], of: Federation, options: TrainerOptions, newcomer: bool = False
    ) -> SiteState:
        """A site, or several that train as one, as it is at the start; a newcomer is at the common start."""
        return SiteState(
            "+".join(members),
            {name: Feed(of, name, options, self._seed, self._device, self._staged) for name in members},
            self.held(members),
            partial(self._view, members, self.common) if newcomer else partial(self.start, members),
            self.slots,
            self._method,
            self.plan,
            self.step,
            options,
            self._seed,
            self._device,
        )

    def _view(self, members: Sequence[str], nets: nn.ModuleDict) -> nn.ModuleDict:
        """Those nets that a site needs: not the discriminators of tasks that it lacks."""
        return _without(nets, set(map(str, {*self._roster.all_tasks()} - {*self._roster.all_tasks(members)})))


def _groups(method: Method, roster: Roster) -> list[list[str]]:
    groups = [sorted(group) for group in method.federate(roster.names)]
    if sorted(name for group in groups for name in group) != sorted(roster.names):
        raise ContractError(
            f"method {type(method).__name__}: federate() gave {groups}; every site must be in exactly one group"
        )
    return sorted(groups)


def _without(nets: nn.ModuleDict, tasks: set[str]) -> nn.ModuleDict:
    """The same nets, without the discriminators of some tasks."""
    return nn.ModuleDict(
        {
            name: _without(net, tasks) if isinstance(net, nn.ModuleDict) else net
            for name, net in nets.items()
            if name not in tasks
        }
    )
