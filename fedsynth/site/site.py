"""A site during a run: its nets, what it remembers, and the tools that a method works with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from .. import streams
from ..exchange import ContractError, Memory, Place, Plan, distance, inner
from ..federation import Task
from ..feed import Batch, Draw, Feed
from ..runtime.options import TrainerOptions
from ..step import Pairs, Player, Step
from ..step.slot import Slot, new_optimizer
from .offload import State
from .slots import SlotPool


class LocalMethod(Protocol):
    """The part of a method that a site calls; `Method` says what each hook is for."""

    second: ClassVar[bool]

    def players(self, nets: nn.ModuleDict) -> dict[str, Any]: ...
    def phase(self, site: SiteState, k: int) -> str: ...
    def step(self, site: SiteState, batch: Batch) -> Pairs: ...
    def synthesise(self, site: SiteState, batch: Batch) -> Tensor: ...


class SiteState:
    """One site, or the group of sites that train as one.

    `name`, `members` (the real sites), `tasks`, `samples` (training slices); `nets`; `players`: name -> parameters; `memory`;
    `round` (from 1) of `rounds` and its `lr`; `steps` (local steps of this round, of the `full` number) and `epoch` (batches
    that an epoch fills, the last one perhaps not wholly); `phase` of the step, "" outside one; `received`: the server's model as
    it came, None outside a round.

    Nets, memory and what was received lie in a slot, which the site is given when it is asked for them and which another site
    may be given after the hook; so a method asks the site for them every time.
    """

    def __init__(
        self,
        name: str,
        feeds: Mapping[str, Feed],
        held: frozenset[str],
        start: Callable[[], nn.ModuleDict],
        slots: SlotPool,
        method: LocalMethod,
        plan: Plan,
        step: Step,
        options: TrainerOptions,
        seed: int,
        device: torch.device,
    ) -> None:
        self.name, self.feeds, self.held, self.device = name, feeds, held, device
        self.members = tuple(feeds)
        self.tasks: tuple[Task, ...] = tuple(sorted({task for feed in feeds.values() for task in feed.tasks}))
        self.samples = sum(feed.samples for feed in feeds.values())
        self.full = sum(feed.steps for feed in feeds.values())
        self.steps = self.full  # fewer where it straggles
        self.epoch = sum(feed.epoch for feed in feeds.values())
        self.round, self.rounds, self.phase, self.lr, self.factor = 0, options.rounds, "", options.lr, 1.0
        self.state: State = (name, 0)
        self.at_work = False  # in mid-training: its slot cannot be given away
        self.plan, self._slots = plan, slots
        self.start = start  # the nets as they are before the first round
        self._method, self._step, self._options, self._seed = method, step, options, seed

    @property
    def slot(self) -> Slot:
        """Where the site's state is now."""
        return self._slots.of(self)

    @property
    def nets(self) -> nn.ModuleDict:
        return self.slot.nets

    @property
    def players(self) -> Mapping[str, list[Tensor]]:
        return self.slot.players

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        return self.slot.optimizers

    @property
    def memory(self) -> Memory:
        return self.slot.memory

    @property
    def received(self) -> Tensor | None:
        return self.slot.received

    @received.setter
    def received(self, model: Tensor | None) -> None:
        self.slot.received = model

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        return self.slot.tensors

    # --- vectors -----------------------------------------------------------------------------------------------------

    def pack(self, root: str = "") -> Tensor:
        """The travelling parameters as a flat vector; with `root`, those of the set of nets of that name that mirrors them.

        Where the site lacks a net the vector has what was received, or 0.
        """
        return self.plan.model.pack(self._under(root), self.received)

    def pack_buffers(self) -> Tensor:
        """The travelling buffers as a flat vector."""
        return self.plan.buffers.pack(self.tensors)

    def load(self, model: Tensor, buffers: Tensor | None = None, root: str = "") -> None:
        """Write flat vectors into the nets; what does not travel is left as it is."""
        self.plan.model.unpack(model, self._under(root))
        if buffers is not None:
            self.plan.buffers.unpack(buffers, self._under(root))

    def along(self, player: Player, vector: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The travelling parameters of one player or several (or those that mirror them), each with its part of the vector."""
        pairs = []
        names = (player,) if isinstance(player, str) else player
        for parameter in (parameter for name in names for parameter in self.players[name]):
            path = self.slot.paths[id(parameter)]
            path = path if path in self.plan.model.offsets else path.partition(".")[2]
            if path in self.plan.model.offsets:
                pairs.append((parameter, self.plan.model.part(vector, path)))
        return pairs

    def distance(self, player: Player, vector: Tensor | None) -> Tensor | float:
        """1/2 |player - vector|^2 over what travels, differentiable."""
        assert vector is not None, "site.received is None outside a round"
        return distance(self.along(player, vector))

    def inner(self, player: Player, vector: Tensor) -> Tensor | float:
        """<player, vector> over what travels: added to a loss it adds the vector to the gradient, exactly."""
        return inner(self.along(player, vector))

    def gradient(self, player: Player) -> Tensor:
        """The gradient that moved the player last, as a flat vector, 0 elsewhere; to be read in `step` after its yield."""
        vector = torch.zeros(self.plan.model.numel, device=self.device)
        for parameter, part in self.along(player, vector):
            if parameter.grad is not None:
                part.copy_(parameter.grad)
        return vector

    def slope(self, player: Player, loss: Tensor) -> Tensor:
        """The gradient of a loss by a player's travelling parameters, as a flat vector, 0 elsewhere; moves nothing."""
        vector = torch.zeros(self.plan.model.numel, device=self.device)
        pairs = self.along(player, vector)
        if pairs:
            slopes = torch.autograd.grad(loss, [parameter for parameter, _ in pairs], allow_unused=True)
            self._step.backwards += 1
            for (_, part), slope in zip(pairs, slopes, strict=True):
                if slope is not None:
                    part.copy_(slope)
        return vector

    def where(self, rule: Callable[[Place], bool]) -> Tensor:
        """Bool mask over the model vector of the places that fulfil the rule."""
        return self.plan.model.where(rule, self.device)

    # --- data and work -----------------------------------------------------------------------------------------------

    def draw(self, purpose: str, count: int, split: str = "train") -> list[Batch]:
        """Batches of the site's own data from a stream named by the purpose and the round, not augmented."""
        share = {name: count // len(self.members) for name in self.members}
        for name in self.members[: count % len(self.members)]:
            share[name] += 1
        drawn = [(name, share[name]) for name in self.members if share[name]]
        second = self._method.second
        return [
            batch for name, n in drawn for batch in self.feeds[name].draw(n, split, purpose, self.round, second=second)
        ]

    def fit(self, count: int, step: Callable[[SiteState, Batch], Pairs] | None = None) -> None:
        """Local steps with fresh optimisers, for `personalise`; the method's own step unless another is given."""
        groups = self._method.players(self.nets)
        optimizers = {
            name: new_optimizer(parameters, self._options, self.device) for name, parameters in groups.items()
        }
        with self.training(True):
            for k, batch in enumerate(self.draw("fit", count)):
                self.phase = self._method.phase(self, k)
                self._step.run((step or self._method.step)(self, batch), self.players, optimizers)
        self.phase = ""

    @contextmanager
    def training(self, mode: bool) -> Iterator[None]:
        """Nets in train() or eval() inside, as they were afterwards."""
        before = self.nets.training
        self.nets.train(mode)
        try:
            yield
        finally:
            self.nets.train(before)

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Whatever happens to nets and memory inside is undone afterwards."""
        tensors = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        memory, lr = self.memory.snapshot(), self.lr
        received = None if self.received is None else self.received.clone()
        try:
            yield
        finally:
            self.slot.load(tensors, memory)
            self.received, self.lr = received, lr

    # --- the trainer's side ------------------------------------------------------------------------------------------

    @contextmanager
    def hook(self, purpose: str) -> Iterator[None]:
        """Inside: eval mode and a noise stream named by the purpose."""
        self._reseed("hook", purpose)
        with self.training(False):
            yield

    def schedule(self) -> list[Draw]:
        """The local steps of this round. A group's members keep their own batches, in a common random order."""
        draws = [draw for feed in self.feeds.values() for draw in feed.train(self.round, self._method.second)]
        if len(self.members) > 1:
            order = streams.host(self._seed, self.name, "interleave", self.round).permutation(len(draws))
            draws = [draws[place] for place in order]
        return draws[: self.steps]

    def train(self, losses: dict[str, Tensor]) -> Iterator[None]:
        """The local steps of this round, with a pause after each, so that several sites may take turns. Adds to the losses of
        both roles."""
        slot = self.slot
        with slot.on_stream(), self._step.timing("data"):
            slot.nets.train()
            draws = self.schedule()
        for k, draw in enumerate(draws):
            with slot.on_stream():
                self._reseed("noise", k)
                self.phase = self._method.phase(self, k)
                with self._step.timing("data"):
                    batch = draw.make()
                pairs = partial(self._method.step, self)
                self._step.local(slot, (self.tasks, self.phase), batch, pairs, losses)
            yield
        with slot.on_stream():
            self._step.collect(slot, losses)
        self.phase = ""

    def answer(self, batch: Batch) -> Tensor:
        """What the site synthesises from a batch, `[B, 1, H, W]`, in the run's precision; to be asked while it serves."""
        with self._step.autocast():
            return self._method.synthesise(self, batch)

    def enter(self, round: int) -> None:
        """Go to a round: its number and its learning rates, which are the start values times the schedule's factor."""
        self.factor = self._options.rate(round)
        self.round, self.lr = round, self._options.lr * self.factor
        if self in self._slots:
            self.slot.rate(self.factor)

    def begin(self, round: int, steps: int) -> None:
        """Enter a round to do so many local steps, and keep the slot until `leave`."""
        self.enter(round)
        self.steps, self.at_work = steps, True
        self.slot.follow()
        self.state = (self.name, round)

    def leave(self) -> None:
        """End the work in a round, finished or not."""
        if self.at_work:
            self.slot.join()
            self.at_work = False

    def dismiss(self) -> None:
        """Give up the site's state and its slot, for good."""
        self._slots.dismiss(self)

    def _reseed(self, *names: object) -> None:
        self.slot.noise.manual_seed(streams.key(self._seed, self.name, self.round, *names))

    def _under(self, root: str) -> Mapping[str, Tensor]:
        if not root:
            return self.tensors
        if root not in self.nets:
            raise ContractError(f"site {self.name} has no set of nets {root!r}; it has {', '.join(self.nets)}")
        return {path.removeprefix(root + "."): t for path, t in self.tensors.items() if path.startswith(root + ".")}
