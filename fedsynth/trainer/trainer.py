"""The only training loop: rounds of download, local training, upload and aggregation, for every method alike."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import streams
from ..evaluation import evaluate, generalisation as probes
from ..exchange import ContractError, Plan, leaves
from ..federation import Federation, Task
from ..feed import Batch, Feed, fits
from ..method import Blueprint, Method
from ..networks.network import Generator, Network, check_stages
from ..runtime import checkpoint
from ..runtime.device import matrix_rate, peak, reset_peak, resolve_device, set_precision, trim
from ..runtime.options import UNCOUNTED, Offload as Where, OptimizerState, TrainerOptions
from ..server import Server
from ..server.uploads import Uploads
from ..site import SiteState
from ..site.offload import OffloadStore
from ..site.slots import SlotPool
from ..step import Step
from .outcome import Costs, Outcome, Row, curve_row
from .participation import Participation, poisoned
from .sharing import buffer_policy, check_shares_a_part, sizes
from .snapshots import Snapshots

NUMERICS = 2  # part of every run's identity: raise it when a change of the engine changes numbers

DONE = object()  # what a generator gives that has ended

Progress = Callable[[int, int, str, float], None]


def silent(round: int, rounds: int, site: str, loss: float) -> None:
    """The progress that shows nothing."""


@dataclass
class _State:
    """How far a run is; saved with its checkpoint."""

    round: int = 0
    diverged: str = ""
    best_round: int = 0
    best_psnr: float = -math.inf
    curve: list[dict[str, Any]] = field(default_factory=list)
    costs: Costs = field(default_factory=Costs)


class Trainer:
    """Trains one method on one federation, from the start or from the checkpoint that it finds in `folder`.

    Raises ContractError when the method breaks its contract, ValueError when the checkpoint is of another run.
    `progress(round, rounds, site, generator loss)` is called after a site's local training.
    """

    def __init__(
        self,
        method: Method,
        network: Network,
        federation: Federation,
        options: TrainerOptions,
        seed: int,
        folder: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        self.method, self.options, self.seed, self.progress = method, options, seed, progress
        counted = {name: value for name, value in asdict(options).items() if name not in UNCOUNTED}
        plan = sorted(federation.tasks.items()), federation.spare_sites, federation.conditions
        self.recipe = repr((NUMERICS, method, network, counted, seed, *plan))
        if folder is None:
            folder = Path(tempfile.mkdtemp())
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.folder = folder
        self.device = resolve_device(options.device)
        self.side_by_side = options.resident if self.device.type == "cuda" else 1  # sites that train at a time
        reset_peak(self.device)

        groups = [sorted(group) for group in method.federate(federation.names)]
        if sorted(name for group in groups for name in group) != sorted(federation.names):
            raise ContractError(
                f"method {type(method).__name__}: federate() gave {groups}; every site must be in exactly one group"
            )

        def build(variant: int = 0) -> nn.ModuleDict:
            blueprint = Blueprint(network, federation.columns, federation.all_tasks(), seed, variant)
            with blueprint.weights("own"):
                return method.build(blueprint).to(self.device)

        self.common = common = build()
        for _, net in leaves(common):
            if isinstance(net, Generator):
                check_stages(net)
        self.plan = Plan(common, method.travels)
        check_shares_a_part(method, self.plan, common, network)
        self.step = Step(type(method).__name__, options, self.device)
        self.federation, self._staged = federation, not fits(federation, self.device)
        self.offload = OffloadStore(folder, map("+".join, groups), options.offload is Where.disk, self.device)

        def start(site: SiteState) -> nn.ModuleDict:
            own = not options.common_start and site.name in self.sites
            return self._view(site.tasks, build(streams.key(*site.members)) if own else common)

        self.slots = SlotPool(start, method, options, self.offload, self.device)
        self.sites = {"+".join(group): self.site(group, federation, options) for group in sorted(groups)}
        self.participants = Participation(list(self.sites), options, federation.conditions, seed)
        self.server = Server(self.plan, self.sites, build, options, seed)
        self.state = _State()
        self._secured = 0  # the best round that the checkpoint knows
        self.snapshots = Snapshots(folder, self.server, self.sites, self.slots, self.offload)
        trim()

    def site(self, members: Sequence[str], of: Federation, options: TrainerOptions) -> SiteState:
        """A site, or several that train as one, as it is at the start."""
        feeds = {name: Feed(of, name, options, self.seed, self.device, self._staged) for name in members}
        view = self._view({task for feed in feeds.values() for task in feed.tasks}, self.common)
        own = {name for name, _ in (*view.named_parameters(), *view.named_buffers())}
        held = frozenset(own & {*self.plan.model.offsets, *self.plan.buffers.offsets})
        return SiteState(
            "+".join(members),
            feeds,
            held,
            self.slots,
            self.method,
            self.plan,
            self.step,
            options,
            self.seed,
            self.device,
        )

    def _view(self, tasks: Iterable[Task], nets: nn.ModuleDict) -> nn.ModuleDict:
        """Those nets that a site with these tasks needs: not the discriminators of others."""
        return _without(nets, set(map(str, self.federation.all_tasks())) - set(map(str, tasks)))

    # --- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Train up to `options.rounds` rounds, then score both selections on the test split, once."""
        set_precision(self.options)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        while self.state.round < self.options.rounds and not self.state.diverged:
            self.round(self.state.round + 1)
        return self._outcome()

    def round(self, round: int) -> None:
        started, costs = time.perf_counter(), self.state.costs
        flops, seconds = self.step.flops, dict(self.step.seconds)
        uploads = Uploads(self.folder / "uploads", self.options, self.device)
        rows = self._train(round, uploads)
        if not self.state.diverged:
            self.step.timed("aggregation", lambda: self.method.aggregate(self.server, uploads))
            self.server.settle()
        uploads.clear()
        spent = {what: total - seconds.get(what, 0.0) for what, total in self.step.seconds.items()}
        costs.add(rows.values(), self.step.flops - flops, spent)
        costs.seconds += time.perf_counter() - started
        self.state.round = round
        last = round == self.options.rounds
        if not self.state.diverged and (last or round % self.options.validate_every == 0):
            self.validate(round, rows)
        self.state.curve += rows.values()
        if self.state.diverged or last or round % self.options.checkpoint_every == 0:
            self._save()
        self._forget()

    def _train(self, round: int, uploads: Uploads) -> dict[str, Row]:
        """The sites' part of a round, several side by side on a GPU: a row of the curve each."""
        rows: dict[str, Row] = {}
        waiting = deque(self.participants(round))
        at_work: deque[tuple[Row, Iterator[None]]] = deque()
        while (waiting or at_work) and not self.state.diverged:
            if waiting and len(at_work) < self.side_by_side:
                name = waiting.popleft()
                rows[name] = curve_row(round, name, loss=None)
                at_work.append((rows[name], self._local(self.sites[name], rows[name], uploads)))
                if waiting and not self.slots.in_slot(following := self.sites[waiting[0]]):
                    self.offload.expect(following.state)
            row, work = at_work.popleft()
            began, backwards = time.perf_counter(), self.step.backwards
            working = next(work, DONE) is not DONE
            row["seconds"] += time.perf_counter() - began
            row["gradient_evaluations"] += self.step.backwards - backwards
            if working:
                at_work.append((row, work))
            else:
                self._watch(row)
        for row, _ in at_work:  # where a run diverged
            row |= dict.fromkeys(("loss_generator", "loss_discriminator"), math.nan)
            self._leave(self.sites[row["site"]])
        return rows

    def _watch(self, row: Row) -> None:
        """Say that a site has trained, and notice when it diverged."""
        losses = {
            role: row[f"loss_{role}"] for role in ("generator", "discriminator") if row[f"loss_{role}"] is not None
        }
        row |= {f"loss_{role}": losses.get(role, math.nan) for role in ("generator", "discriminator")}
        if all(map(math.isfinite, losses.values())):
            self.progress(row["round"], self.options.rounds, row["site"], row["loss_generator"])
        else:
            self.state.diverged = f"the loss at site {row['site']} is not finite in round {row['round']}: {losses}"

    def _local(self, site: SiteState, row: Row, uploads: Uploads) -> Iterator[None]:
        """One site's part of a round: receive, train, upload; a pause after each local step."""
        method, round, losses = self.method, row["round"], dict[str, Tensor]()
        site.enter(round)
        site.steps = self.participants.steps(site.name, site.full, round)
        site.at_work = True
        site.slot.follow()
        site.state = (site.name, round)

        def receive() -> None:
            message = method.download(self.server, site.name).delivered()
            if round == 1 and not self.options.common_start:
                message |= {"model": site.pack(), "buffers": site.pack_buffers()}
            row["bytes_down"] = self.plan.nbytes(message, site.held)
            site.received = message.model
            with site.hook("receive"):
                method.receive(site, message)

        def upload() -> None:
            with site.hook("upload"):
                message = method.upload(site).delivered()
            row["bytes_up"] = self.plan.nbytes(message, site.held)
            if site.name in self.federation.poisoned:
                message = poisoned(message, site.received)
            uploads.add(site.name, message)

        with site.slot.at_work():
            self.step.timed("exchange", receive)
            if self.options.optimizer_state is OptimizerState.reset:
                site.slot.reset_optimizers()
        yield from site.train(losses)
        with site.slot.at_work():
            self.step.timed("exchange", upload)
            if losses:
                totals = self.step.timed("waiting", torch.stack(list(losses.values())).tolist)
                row |= {f"loss_{role}": total / site.steps for role, total in zip(losses, totals, strict=True)}
        site.received = None
        self._leave(site)

    def _leave(self, site: SiteState) -> None:
        if site.at_work:
            site.slot.join()
            site.at_work = False

    def answer(self, site: SiteState, batch: Batch) -> Tensor:
        """What a site that serves makes of a batch."""
        with self.step.autocast():
            return self.method.synthesise(site, batch)

    # --- validation and selection ------------------------------------------------------------------------------------

    def validate(self, round: int, curve: dict[str, Row]) -> None:
        started = time.perf_counter()
        for site in self.sites.values():
            site.enter(round)
        rows = self._score("val")
        for name in self.sites:
            own = [r for r in rows if r["site"] in self.sites[name].members]
            if own:
                row = curve.setdefault(name, curve_row(round, name))
                row["val_psnr"] = evaluate.mean_psnr(own)
                row["val_ssim"] = float(np.mean([r["ssim"] for r in own]))
        psnr = evaluate.mean_psnr(rows)
        if not math.isfinite(psnr):
            self.state.diverged = f"the validation score is not finite in round {round}"
        elif psnr > self.state.best_psnr:
            self.state.best_psnr, self.state.best_round = psnr, round
            self.snapshots.write(_selected(round), {})
        if round == self.options.rounds and not self.state.diverged:
            copied = [
                row
                for site in self.sites.values()
                for feed in site.feeds.values()
                for task in feed.tasks
                for row in evaluate.copy_source(feed, task, "val")
            ]
            if psnr < (floor := evaluate.mean_psnr(copied)):
                self.state.diverged = (
                    f"validation PSNR ends at {psnr:.2f} dB, below copying the source ({floor:.2f} dB)"
                )
        self.state.costs.evaluation_seconds += time.perf_counter() - started

    def _score(self, split: str) -> list[Row]:
        """What every site that is not poisoned serves."""
        return self._honest(evaluate.score(self.method, self.server, self.sites, split, self.step))

    def _honest(self, rows: Iterable[Row]) -> list[Row]:
        return [row for row in rows if row["site"] not in self.federation.poisoned]

    def _outcome(self) -> Outcome:
        digest = self.digests()
        scores: list[dict[str, Any]] = []
        if self.state.diverged:
            feeds = [feed for site in self.sites.values() for feed in site.feeds.values()]
            rows = self._honest(
                r for feed in feeds for task in feed.tasks for r in evaluate.mean_image(feed, task, "test")
            )
            scores = [{"selection": selection} | row for selection in ("selected", "last") for row in rows]
        else:
            last = self._score("test")
            selected = last
            if self.state.best_round != self.options.rounds:
                best = self.state.best_round
                self.snapshots.recall(self.snapshots.read(_selected(best), self.device), best)
                selected = self._score("test")
            for selection, found in (("selected", selected), ("last", last)):
                scores += [{"selection": selection} | row for row in found]
        scores += probes.scores(self)
        self.state.costs.peak_memory_bytes = max(self.state.costs.peak_memory_bytes, peak(self.device))
        rate = matrix_rate(self.device, self.options.precision)
        return Outcome(
            status="diverged" if self.state.diverged else "done",
            reason=self.state.diverged,
            scores=scores,
            curve=self.state.curve,
            selected_round=0 if self.state.diverged else self.state.best_round,
            validation_psnr=0.0 if self.state.diverged else self.state.best_psnr,
            gallery={} if self.state.diverged else evaluate.gallery(self.method, self.server, self.sites, self.step),
            costs=self.state.costs.summary(rate) | sizes(self.sites.values(), self.plan),
            policy=buffer_policy(self.common, self.plan),
            execution=f"eager, as it cannot be captured: {self.step.eager}"
            if self.step.eager
            else self.step.execution.value,
            digest=digest,
        )

    # --- state -------------------------------------------------------------------------------------------------------

    def digests(self) -> dict[str, str]:
        """SHA-256 of the tensors of each site, and of the server."""
        sites = {name: checkpoint.digest(site.weights()) for name, site in self.sites.items()}
        return sites | {"server": checkpoint.digest(self.server.tree())}

    def tidy(self) -> None:
        """Of a finished run's folder, keep what the selected round serves with."""
        self.snapshots.keep([_selected(self.state.best_round)], parts=("weights",))

    def serve_selected(self) -> None:
        """Make the sites and the server what they were in the selected round of the run in the folder."""
        self.snapshots.find()
        name = next((name for name in self.snapshots.names if name.startswith("selected")), "")
        if not name:
            raise ValueError(f"{self.folder} holds no trained model: a run leaves it where it was trained")
        self.snapshots.recall(self.snapshots.read(name, self.device), int(name.rpartition("-")[2]))

    def _save(self) -> None:
        self.state.costs.peak_memory_bytes = max(self.state.costs.peak_memory_bytes, peak(self.device))
        self.snapshots.write("checkpoint", {"state": asdict(self.state), "recipe": self.recipe})
        self._secured = self.state.best_round

    def _forget(self) -> None:
        self.snapshots.keep(["checkpoint", _selected(self._secured), _selected(self.state.best_round)])

    def _resume(self) -> None:
        self.snapshots.find()
        if "checkpoint" in self.snapshots.names:
            tree = self.snapshots.read("checkpoint", self.device)
            if tree["recipe"] != self.recipe:
                raise ValueError(
                    f"the checkpoint in {self.folder} is of another run; give every run a folder of its own. This run is\n"
                    f"{self.recipe}\nthat one is\n{tree['recipe']}"
                )
            self.state = _State(**tree["state"] | {"costs": Costs(**tree["state"]["costs"])})
            self.snapshots.recall(tree, self.state.round)
            self._secured = self.state.best_round
        self._forget()


def _selected(round: int) -> str:
    """The name of the snapshot of a round that was the best so far."""
    return f"selected-round-{round}"


def _without(nets: nn.ModuleDict, tasks: set[str]) -> nn.ModuleDict:
    """The same nets, without the discriminators of some tasks."""
    return nn.ModuleDict(
        {
            name: _without(net, tasks) if isinstance(net, nn.ModuleDict) else net
            for name, net in nets.items()
            if name not in tasks
        }
    )
