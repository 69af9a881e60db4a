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
    """One site, or a group of sites that train as one, as a method sees it. The trainer makes it.

    Nets, memory and what was received lie in a slot, which the site is given when it is asked for them and which another site
    may be given after the hook. So a method asks the site for them every time.

    Attributes:
        name: Of the site; of a group, its members' names joined by "+".
        members: The names of the real sites.
        tasks: All tasks of the members, sorted.
        samples: How many training slices there are.
        held: The paths of the tensors that travel and that the site has.
        round: The number of this round, from 1, of `rounds`; 0 before the first.
        lr: The learning rate of this round.
        full: How many local steps a round has here.
        steps: How many of these the site does in this round; fewer where it straggles. Outside its training, in whatever a site
            does to serve, it is `full`.
        budget: How many local steps the site may still do, in training and to serve; None for any number. Newcomers have one.
        epoch: How many batches an epoch fills, the last of them perhaps only in part.
        at_work: Whether the site is in its part of a round, from its download to its upload, and is not to be scored.
        phase: The phase of the step (`Method.phase`); "" outside a step.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> from fedsynth import DATASETS, METHODS, NETWORKS, Scenario, Trainer, TrainerOptions
        >>> phantom = DATASETS["phantom"](size=16, slices=1, train=1, val=1, test=1)
        >>> federation = Scenario("one", ["ixi"], {"ixi": ["T1->T2"]}).federation(phantom, Path(mkdtemp()))
        >>> network = NETWORKS["resnet"](width=2, blocks=1, discriminator_width=2, discriminator_layers=1)
        >>> trainer = Trainer(METHODS["fedavg"](), network, federation, TrainerOptions(device="cpu"), seed=0)
        >>> site = trainer.sites["ixi"]
        >>> site.load(site.pack() * 0.5)  # halves the parameters that travel
        >>> [batch] = site.draw("look", count=1)
        >>> batch.source.shape, list(site.players)
        (torch.Size([1, 1, 16, 16]), ['generator', 'discriminators.T1->T2'])
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
        self.steps = self.full
        self.budget: int | None = None
        self.epoch = sum(feed.epoch for feed in feeds.values())
        self.round, self.rounds, self.phase, self.lr, self.factor = 0, options.rounds, "", options.lr, 1.0
        self.state: State = (name, 0)
        self.at_work = False  # while it is, its slot cannot be given away
        self.plan, self._slots = plan, slots
        self.start = start  # the nets as they are before the first round
        self._method, self._step, self._options, self._seed = method, step, options, seed

    @property
    def trained(self) -> bool:
        """Whether the site has trained: in an earlier round, or as a newcomer that adapted."""
        return self.state[1] > 0

    @property
    def slot(self) -> Slot:
        """Where the site's state lies now."""
        return self._slots.of(self)

    @property
    def nets(self) -> nn.ModuleDict:
        """The nets by name, as `Method.build` made them; without the discriminators of other sites' tasks."""
        return self.slot.nets

    @property
    def players(self) -> Mapping[str, list[Tensor]]:
        """Name -> the parameters that one optimiser moves."""
        return self.slot.players

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Name of a player -> its optimiser."""
        return self.slot.optimizers

    @property
    def memory(self) -> Memory:
        """What the method remembers of the site."""
        return self.slot.memory

    @property
    def received(self) -> Tensor | None:
        """The server's model as it came in this round; None outside a round."""
        return self.slot.received

    @received.setter
    def received(self, model: Tensor | None) -> None:
        self.slot.received = model

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Path -> every parameter and buffer of the nets."""
        return self.slot.tensors

    # --- vectors -----------------------------------------------------------------------------------------------------

    def pack(self, root: str = "") -> Tensor:
        """The parameters that travel, as a flat vector. Where the site lacks a net, the vector has what was received, or 0.

        Args:
            root: The name of a set of nets that mirrors those that travel, to have its parameters instead.

        Raises:
            ContractError: The site has no set of nets of this name.
        """
        return self.plan.model.pack(self._under(root), self.received)

    def pack_buffers(self) -> Tensor:
        """The buffers that travel, as a flat vector."""
        return self.plan.buffers.pack(self.tensors)

    def load(self, model: Tensor, buffers: Tensor | None = None, root: str = "") -> None:
        """Write flat vectors into the nets. What does not travel is left as it is.

        Args:
            model: Of the parameters.
            buffers: Of the buffers; None leaves them as they are.
            root: The name of a set of nets that mirrors those that travel, to write into it instead.

        Raises:
            ContractError: The site has no set of nets of this name.
        """
        self.plan.model.unpack(model, self._under(root))
        if buffers is not None:
            self.plan.buffers.unpack(buffers, self._under(root))

    def along(self, player: Player, vector: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The parameters of one player or several that travel, or that mirror those, each with its part of the vector."""
        pairs = []
        names = (player,) if isinstance(player, str) else player
        for parameter in (parameter for name in names for parameter in self.players[name]):
            path = self.slot.paths[id(parameter)]
            path = path if path in self.plan.model.offsets else path.partition(".")[2]
            if path in self.plan.model.offsets:
                pairs.append((parameter, self.plan.model.part(vector, path)))
        return pairs

    def distance(self, player: Player, vector: Tensor | None) -> Tensor | float:
        """1/2 |player - vector|^2 over what travels; it has a gradient."""
        assert vector is not None, "site.received is None outside a round"
        return distance(self.along(player, vector))

    def inner(self, player: Player, vector: Tensor) -> Tensor | float:
        """<player, vector> over what travels: added to a loss, it adds exactly the vector to the gradient."""
        return inner(self.along(player, vector))

    def gradient(self, player: Player) -> Tensor:
        """The gradient that moved the player last, as a flat vector that is 0 elsewhere; to be read in `step` after its yield."""
        vector = torch.zeros(self.plan.model.numel, device=self.device)
        for parameter, part in self.along(player, vector):
            if parameter.grad is not None:
                part.copy_(parameter.grad)
        return vector

    def slope(self, player: Player, loss: Tensor) -> Tensor:
        """The gradient of a loss by what travels of a player, as a flat vector that is 0 elsewhere; nothing moves by it."""
        vector = torch.zeros(self.plan.model.numel, device=self.device)
        pairs = self.along(player, vector)
        if pairs:
            self._step.asked([parameter for parameter, _ in pairs])
            slopes = torch.autograd.grad(loss, [parameter for parameter, _ in pairs], allow_unused=True)
            self._step.backwards += 1
            for (_, part), slope in zip(pairs, slopes, strict=True):
                if slope is not None:
                    part.copy_(slope)
        return vector

    def where(self, rule: Callable[[Place], bool]) -> Tensor:
        """A bool mask over the flat vector of parameters: True where the place fulfils the rule."""
        return self.plan.model.where(rule, self.device)

    # --- data and work -----------------------------------------------------------------------------------------------

    def draw(self, purpose: str, count: int, split: str = "train") -> list[Batch]:
        """Batches of the site's own data, not augmented.

        Args:
            purpose: Names the stream that they are drawn from, together with the round.
            count: How many batches; a group takes them from its members in turn.
            split: "train", "val" or "test".
        """
        share = {name: count // len(self.members) for name in self.members}
        for name in self.members[: count % len(self.members)]:
            share[name] += 1
        drawn = [(name, share[name]) for name in self.members if share[name]]
        second = self._method.second
        return [
            batch for name, n in drawn for batch in self.feeds[name].draw(n, split, purpose, self.round, second=second)
        ]

    def fit(self, count: int, step: Callable[[SiteState, Batch], Pairs] | None = None) -> None:
        """Do so many local steps with fresh optimisers, or as many as the budget has, to personalise or adapt; by the method's
        own `step` unless another is given."""
        groups = self._method.players(self.nets)
        optimizers = {
            name: new_optimizer(parameters, self._options, self.device) for name, parameters in groups.items()
        }
        losses: dict[str, Tensor] = {}
        count = self.spend(count)
        with self.training(True):
            for k, batch in enumerate(self.draw("fit", count)):
                self.phase = self._method.phase(self, k)
                self._step.run((step or self._method.step)(self, batch), self.players, optimizers, losses)
        self.phase = ""
        if count:
            self._step.contract.check_trained(losses, f"site.fit({count}) at site {self.name}")

    def spend(self, count: int) -> int:
        """Take so many steps from the budget; returns how many there were to take."""
        if self.budget is None:
            return count
        taken = min(count, self.budget)
        self.budget -= taken
        return taken

    @contextmanager
    def training(self, mode: bool) -> Iterator[None]:
        """Inside, the nets are in train() or in eval(); afterwards they are as they were."""
        before = self.nets.training
        self.nets.train(mode)
        try:
            yield
        finally:
            self.nets.train(before)

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Whatever happens to the nets and the memory inside is undone afterwards."""
        lr, received = self.lr, None if self.received is None else self.received.clone()
        with self.slot.preserved():
            try:
                yield
            finally:
                self.received, self.lr = received, lr

    # --- the trainer's side ------------------------------------------------------------------------------------------

    @contextmanager
    def hook(self, purpose: str) -> Iterator[None]:
        """Inside, the nets are in eval() and draw noise from a stream named by the purpose."""
        self._reseed("hook", purpose)
        with self.training(False):
            yield

    def schedule(self) -> list[Draw]:
        """The batches of this round's local steps. A group's members keep their own batches, in a common random order."""
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
            draws = draws[: self.spend(len(draws))]
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
        """What the site synthesises from a batch, `[B, 1, H, W]`, in the run's precision; to be asked while it serves.

        If noise is drawn for it, every slice has a stream of its own: its image does not depend on the others of its batch. So
        it is in training mode (`trainer.serve_training`), where batch norm looks at the batch.
        """
        together = not self._options.serve_training
        with self._step.autocast(), self.training(not together):
            before = self.slot.noise.get_state()
            if together:
                images = self._step.contract.checked_images(self._method.synthesise(self, batch), batch.target)
                if torch.equal(self.slot.noise.get_state(), before):
                    return images
            alone = []
            for k, name in enumerate(batch.slices):
                self._reseed("slice", batch.site, str(batch.task), name)
                alone.append(self._method.synthesise(self, batch.alone(k)))
            return self._step.contract.checked_images(torch.cat(alone), batch.target)

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

    def leave(self) -> None:
        """End the work in a round, finished or not. Nothing is left of how many steps it had: a resumed run would not know."""
        if self.at_work:
            self.slot.join()
            self.at_work, self.steps, self.state = False, self.full, (self.name, self.round)

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
