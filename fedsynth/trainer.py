"""The only training loop: rounds of download, local training, upload and aggregation, for every method alike."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import checkpoint, evaluate, streams
from .costs import Costs, peak, reset_peak
from .exchange import ContractError, Message, Plan, leaves, places
from .federation import Federation
from .feed import Feed
from .method import Blueprint, Method
from .networks.network import Generator, Network, check_stages
from .options import OptimizerState, TrainerOptions
from .server import Server
from .site import SiteState
from .step import Step, set_precision

NUMERICS = 1  # part of every run's identity: raise it when a change of the engine changes numbers

Progress = Callable[[int, int, str, float], None]


def silent(round: int, rounds: int, site: str, loss: float) -> None:
    """The progress that shows nothing."""


@dataclass
class Outcome:
    """What a run found. `status` is "done", or "diverged": non-finite, or at the end worse than copying the source.

    `scores`: a row for each of the two selections ("selected" by validation, "last" round), site, task and test subject;
    a diverged run's are those of the mean training image. `validation_psnr`: of the selected round, dB, 0 for a diverged run.
    `curve`: a row a round and site. `gallery`: see
    `evaluate.gallery`. `digest`: name -> SHA-256 of the final tensors of every site and of the server.
    """

    status: str
    reason: str
    scores: list[dict[str, Any]]
    curve: list[dict[str, Any]]
    selected_round: int
    validation_psnr: float
    gallery: dict[str, dict[str, np.ndarray]]
    costs: dict[str, float]
    policy: str
    digest: dict[str, str]


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
        self.recipe = repr(
            (NUMERICS, method, network, options, seed, sorted(federation.tasks.items()), federation.spare_sites)
        )
        if folder is None:
            folder = Path(tempfile.mkdtemp())
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.folder = folder
        self.device = resolve_device(options.device)
        if options.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when CUDA starts
        reset_peak(self.device)

        groups = [sorted(group) for group in method.federate(federation.names)]
        if sorted(name for group in groups for name in group) != sorted(federation.names):
            raise ContractError(
                f"method {_name(method)}: federate() gave {groups}; every site must be in exactly one group"
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
        self._check_plan(common, network)
        self.step = Step(_name(method), options, self.device)
        self.federation = federation
        self.sites = {
            "+".join(group): self._site(group, common if options.common_start else build(streams.key(*group)))
            for group in sorted(groups)
        }
        self.server = Server(self.plan, self.sites, build, options, seed)
        self.state = _State()

    def _site(self, members: Sequence[str], start: nn.ModuleDict) -> SiteState:
        """A site, or several that train as one, with copies of those nets that their tasks need."""
        feeds = {name: Feed(self.federation, name, self.options, self.seed, self.device) for name in members}
        keep = {str(task) for feed in feeds.values() for task in feed.tasks}
        nets = _copy_without(start, {str(task) for task in self.federation.all_tasks()} - keep)
        return SiteState(
            "+".join(members), feeds, nets, self.method, self.plan, self.step, self.options, self.seed, self.device
        )

    # --- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Train up to `options.rounds` rounds, then score both selections on the test split, once."""
        set_precision(self.options)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        while self.state.round < self.options.rounds and not self.state.diverged:
            self._round(self.state.round + 1)
        return self._outcome()

    def _round(self, round: int) -> None:
        started = time.perf_counter()
        costs = self.state.costs
        rows: dict[str, dict[str, Any]] = {}
        uploads: dict[str, Message] = {}
        for name in self.participants(round):
            site = self.sites[name]
            before = (costs.bytes_up, costs.bytes_down, self.step.backwards, time.perf_counter())
            uploads[name], losses = self._local(site, round)
            rows[name] = {
                "round": round,
                "site": name,
                "loss_generator": losses.get("generator", math.nan),
                "loss_discriminator": losses.get("discriminator", math.nan),
                "val_psnr": math.nan,
                "val_ssim": math.nan,
                "bytes_up": costs.bytes_up - before[0],
                "bytes_down": costs.bytes_down - before[1],
                "seconds": time.perf_counter() - before[3],
                "gradient_evaluations": self.step.backwards - before[2],
            }
            if not all(math.isfinite(loss) for loss in losses.values()):
                self.state.diverged = f"the loss at site {name} is not finite in round {round}: {losses}"
                break
            self.progress(round, self.options.rounds, name, losses.get("generator", math.nan))
        else:
            self.method.aggregate(self.server, uploads)
            self.server.settle()
        costs.gradient_evaluations += sum(int(row["gradient_evaluations"]) for row in rows.values())
        costs.seconds += time.perf_counter() - started
        self.state.round = round
        last = round == self.options.rounds
        if not self.state.diverged and (last or round % self.options.validate_every == 0):
            self._validate(round, rows)
        self.state.curve += rows.values()
        if self.state.diverged or last or round % self.options.checkpoint_every == 0:
            self._save()

    def _local(self, site: SiteState, round: int) -> tuple[Message, dict[str, float]]:
        """One site's part of a round: receive, train, upload."""
        method, costs = self.method, self.state.costs
        site.enter(round)
        message = method.download(self.server, site.name).delivered()
        if round == 1 and not self.options.common_start:
            message |= {"model": site.pack(), "buffers": site.pack_buffers()}
        costs.bytes_down += self.plan.nbytes(message, site.held)
        site.received = message.model
        with site.hook("receive"):
            method.receive(site, message)
        if self.options.optimizer_state is OptimizerState.reset:
            site.reset_optimizers()
        sums: dict[str, Tensor] = {}
        site.train(sums)
        with site.hook("upload"):
            upload = method.upload(site).delivered()
        site.received = None
        costs.bytes_up += self.plan.nbytes(upload, site.held)
        counted = zip(sums, torch.stack(list(sums.values())).tolist(), strict=True) if sums else ()
        return upload, {role: total / site.steps for role, total in counted}

    def welcome(self, name: str) -> list[evaluate.Row]:
        """Scores on the test split of what one of the federation's newcomers would serve after the last round."""
        newcomer = self._site([name], self.common)
        newcomer.enter(max(self.state.round, 1))
        return evaluate.score(self.method, self.server, {name: newcomer}, "test", self.step)

    def participants(self, round: int) -> list[str]:
        """The sites of a round, sorted: a share of all, at least one."""
        names = sorted(self.sites)
        count = max(1, int(self.options.participation * len(names) + 0.5))
        if count == len(names):
            return names
        return sorted(sorted(names, key=lambda name: streams.key(self.seed, name, "participation", round))[:count])

    # --- validation and selection ------------------------------------------------------------------------------------

    def _validate(self, round: int, curve: Mapping[str, dict[str, Any]]) -> None:
        started = time.perf_counter()
        for site in self.sites.values():
            site.enter(round)
        rows = evaluate.score(self.method, self.server, self.sites, "val", self.step)
        for name, row in curve.items():
            own = [r for r in rows if r["site"] in self.sites[name].members]
            row["val_psnr"] = evaluate.mean_psnr(own)
            row["val_ssim"] = float(np.mean([r["ssim"] for r in own]))
        psnr = evaluate.mean_psnr(rows)
        if not math.isfinite(psnr):
            self.state.diverged = f"the validation score is not finite in round {round}"
        elif psnr > self.state.best_psnr:
            self.state.best_psnr, self.state.best_round = psnr, round
            checkpoint.save(self.folder / "selected.safetensors", self._weights())
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

    def _outcome(self) -> Outcome:
        weights = self._weights()
        digest = {
            name: checkpoint.digest(tree) for name, tree in {**weights["sites"], "server": weights["server"]}.items()
        }
        scores: list[dict[str, Any]] = []
        if self.state.diverged:
            feeds = [feed for site in self.sites.values() for feed in site.feeds.values()]
            rows = [r for feed in feeds for task in feed.tasks for r in evaluate.mean_image(feed, task, "test")]
            scores = [{"selection": selection} | row for selection in ("selected", "last") for row in rows]
        else:
            last = evaluate.score(self.method, self.server, self.sites, "test", self.step)
            selected = last
            if self.state.best_round != self.options.rounds:
                self._load_weights(checkpoint.load(self.folder / "selected.safetensors", self.device))
                selected = evaluate.score(self.method, self.server, self.sites, "test", self.step)
            for selection, found in (("selected", selected), ("last", last)):
                scores += [{"selection": selection} | row for row in found]
        self.state.costs.peak_memory_bytes = max(self.state.costs.peak_memory_bytes, peak(self.device))
        return Outcome(
            status="diverged" if self.state.diverged else "done",
            reason=self.state.diverged,
            scores=scores,
            curve=self.state.curve,
            selected_round=0 if self.state.diverged else self.state.best_round,
            validation_psnr=0.0 if self.state.diverged else self.state.best_psnr,
            gallery={} if self.state.diverged else evaluate.gallery(self.method, self.server, self.sites, self.step),
            costs=asdict(self.state.costs) | self._sizes(),
            policy=self._policy(),
            digest=digest,
        )

    # --- state -------------------------------------------------------------------------------------------------------

    def _weights(self) -> dict[str, Any]:
        sites = {name: site.weights() for name, site in self.sites.items()}
        server = {"model": self.server.model, "buffers": self.server.buffers, "memory": dict(self.server.memory)}
        return {"sites": sites, "server": server}

    def _load_weights(self, tree: Mapping[str, Any]) -> None:
        for name, site in self.sites.items():
            site.load_weights(tree["sites"][name])
        self.server.model, self.server.buffers = tree["server"]["model"], tree["server"]["buffers"]
        self.server.memory.restore(tree["server"]["memory"])

    def _save(self) -> None:
        self.state.costs.peak_memory_bytes = max(self.state.costs.peak_memory_bytes, peak(self.device))
        optimizers = {name: site.optimizer_state() for name, site in self.sites.items()}
        tree = self._weights() | {"optimizers": optimizers, "state": asdict(self.state), "recipe": self.recipe}
        checkpoint.save(self.folder / "checkpoint.safetensors", tree)

    def _resume(self) -> None:
        path = self.folder / "checkpoint.safetensors"
        if path.exists():
            tree = checkpoint.load(path, self.device)
            if tree["recipe"] != self.recipe:
                raise ValueError(
                    f"{path} is of another run; give every run a folder of its own. This run is\n{self.recipe}\nthat one is\n"
                    f"{tree['recipe']}"
                )
            self.state = _State(**tree["state"] | {"costs": Costs(**tree["state"]["costs"])})
            self._load_weights(tree)
            for name, site in self.sites.items():
                site.load_optimizer_state(tree["optimizers"][name])

    # --- facts -------------------------------------------------------------------------------------------------------

    def _check_plan(self, common: nn.ModuleDict, network: Network) -> None:
        """A method that shares a part must have a part to share and a part to keep, on whatever network it is put."""
        if self.method.partial:
            chosen = {place.path for place in (*self.plan.model.places, *self.plan.buffers.places)}
            shared = [place.path in chosen for place, _ in places(common) if place.net == "generator"]
            if all(shared) or not any(shared):
                raise ContractError(
                    f"method {_name(self.method)} shares part of the generator, but on the network "
                    f"{type(network).__name__} that is {'all' if any(shared) else 'none'} of it; choose another network "
                    "or norm"
                )

    def _sizes(self) -> dict[str, float]:
        """Parameters of one site: of the generator, of what travels, of the discriminators (mean over sites)."""
        counts = []
        for site in self.sites.values():
            named = [(name, sum(p.numel() for p in net.parameters())) for name, net in leaves(site.nets)]
            counts.append(
                {
                    "parameters": sum(n for name, n in named if name == "generator"),
                    "parameters_travelling": sum(
                        length
                        for place, length in zip(self.plan.model.places, self.plan.model.lengths, strict=True)
                        if place.path in site.held
                    ),
                    "parameters_discriminators": sum(n for name, n in named if name.startswith("discriminators")),
                }
            )
        return {key: float(np.mean([count[key] for count in counts])) for key in counts[0]}

    def _policy(self) -> str:
        """What happens to the running statistics of the generator's normalisation, for the tables' captions."""
        site = next(iter(self.sites.values()))
        floating = sum(place.is_buffer for place, _ in places(site.nets) if place.net == "generator")
        travelling = sum(place.net == "generator" for place in self.plan.buffers.places)
        if not floating:
            return "no buffers"
        return {0: "buffers local", floating: "buffers averaged"}.get(travelling, "buffers partly averaged")


def resolve_device(name: str) -> torch.device:
    """The device of a run: "auto" is CUDA where there is one. Raises ValueError for one that this machine lacks."""
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = ["cpu", *(["cuda"] if found else []), *(f"cuda:{index}" for index in range(found))]
    if name not in ("auto", *there):
        raise ValueError(f"trainer.device is {name!r}; here it can be auto, {', '.join(there)}")
    return torch.device(name if name != "auto" else there[1] if found else "cpu")


def _name(method: Method) -> str:
    return type(method).__name__


def _copy_without(nets: nn.ModuleDict, tasks: set[str]) -> nn.ModuleDict:
    """A copy of the nets, without the discriminators of tasks that a site does not have."""
    return nn.ModuleDict(
        {
            name: _copy_without(net, tasks) if isinstance(net, nn.ModuleDict) else deepcopy(net)
            for name, net in nets.items()
            if name not in tasks
        }
    )
