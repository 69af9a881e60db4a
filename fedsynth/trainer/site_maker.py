"""The sites of a run, made on what they have in common: the nets that all start from, the plan of what travels, the slots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import nn

from .. import streams
from ..evaluation.scores import check_metrics
from ..exchange import ContractError, Plan, leaves
from ..federation import Federation, Task
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
        federation: Federation,
        options: TrainerOptions,
        seed: int,
        folder: Path,
        device: torch.device,
    ) -> None:
        self._method, self._network, self._federation = method, network, federation
        self._seed, self._device = seed, device
        options.optimizer.check()
        check_metrics(*federation.size)
        self.groups = _groups(method, federation)
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
        self._staged = not fits_on(device, federation)

    def build(self, variant: int = 0) -> nn.ModuleDict:
        """All nets, as they are drawn for the seed; another variant is another draw."""
        columns, tasks = self._federation.columns, self._federation.all_tasks()
        blueprint = Blueprint(self._network, columns, tasks, self._seed, variant)
        with blueprint.weights("own"):
            return self._method.build(blueprint).to(self._device)

    def site(
        self, members: Sequence[str], of: Federation, options: TrainerOptions, own_start: bool = False
    ) -> SiteState:
        """A site, or several that train as one, as it is at the start; with `own_start` on nets that nobody else starts from."""
        feeds = {name: Feed(of, name, options, self._seed, self._device, self._staged) for name in members}
        tasks = {task for feed in feeds.values() for task in feed.tasks}

        def start() -> nn.ModuleDict:
            return self._view(tasks, self.build(streams.key(*members)) if own_start else self.common)

        view = self._view(tasks, self.common)
        paths = {path for path, _ in (*view.named_parameters(), *view.named_buffers())}
        return SiteState(
            "+".join(members),
            feeds,
            frozenset(paths & {*self.plan.model.offsets, *self.plan.buffers.offsets}),
            start,
            self.slots,
            self._method,
            self.plan,
            self.step,
            options,
            self._seed,
            self._device,
        )

    def _view(self, tasks: Iterable[Task], nets: nn.ModuleDict) -> nn.ModuleDict:
        """Those nets that a site with these tasks needs: not the discriminators of others."""
        return _without(nets, set(map(str, self._federation.all_tasks())) - set(map(str, tasks)))


def _groups(method: Method, federation: Federation) -> list[list[str]]:
    groups = [sorted(group) for group in method.federate(federation.names)]
    if sorted(name for group in groups for name in group) != sorted(federation.names):
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
