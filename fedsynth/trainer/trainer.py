"""The only training loop: rounds of download, local training, upload and aggregation, for every method alike."""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from ..evaluation import evaluate
from ..evaluation.generalisation import Probes
from ..federation import Federation
from ..method import Method
from ..networks.network import Network
from ..runtime import checkpoint
from ..runtime.device import hardware, matrix_rate, peak, reset_peak, resolve_device, set_precision, trim
from ..runtime.options import UNCOUNTED, ServerRule, TrainerOptions, check_finite
from ..server import Server
from ..server.uploads import Uploads
from ..site import SiteState
from .attributes import Attributes
from .model import load_model, save_model
from .outcome import Outcome, Row, RunState, curve_row
from .own_starts import check_own_starts, meet
from .participation import Participation, poisoned
from .selection import Selection
from .server_rule import check_server_rule
from .sharing import buffer_policy, parameter_counts
from .site_maker import SiteMaker
from .snapshots import LATEST, Snapshots, selected

NUMERICS = 2  # part of every run's identity: raise it when a change of the engine changes numbers

DONE = object()  # what `next` gives when a site has finished its part of a round

Progress = Callable[[int, int, str, float], None]


def silent(round: int, rounds: int, site: str, loss: float) -> None:
    """The progress that shows nothing."""


class Trainer:
    """Trains one method on one federation.

    Args:
        method: With its options.
        network: What the method makes its nets of, with its options.
        federation: The sites and their tasks.
        options: How every method trains.
        seed: Of every random stream of the run.
        folder: Where checkpoints lie. A run goes on from the checkpoint that it finds there; None for a temporary folder.
        progress: Called with (round, rounds, site, generator loss) after a site's local training.

    Attributes:
        sites: Name -> the state of each site, or of each group that trains as one.
        server: What the server holds.
        plan: Which tensors travel.
        state: How far the run is.
        step: Runs the local steps and counts them.

    Raises:
        ContractError: The method breaks its contract.
        ValueError: The device or the execution is not to be had, or the checkpoint in the folder is of another run.

    Example:
        >>> from tempfile import mkdtemp
        >>> from fedsynth import DATASETS, METHODS, NETWORKS, Scenario
        >>> phantom = DATASETS["phantom"](size=16, slices=1, train=1, val=1, test=1)
        >>> federation = Scenario("two", ["ixi", "oasis"], {"default": ["T1->T2"]}).federation(phantom, Path(mkdtemp()))
        >>> network = NETWORKS["resnet"](width=2, blocks=1, discriminator_width=2, discriminator_layers=1)
        >>> options = TrainerOptions(rounds=1, local_steps=2, device="cpu")
        >>> trainer = Trainer(METHODS["fedbn"](), network, federation, options, seed=0)
        >>> outcome = trainer.run()
        >>> [(row["round"], row["site"]) for row in outcome.curve]
        [(1, 'ixi'), (1, 'oasis')]
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
        for group, chosen in {"method": method, "network": network, "scenario": federation.conditions}.items():
            check_finite(group, chosen)
        self.method, self.options, self.seed, self.progress = method, options, seed, progress
        self.federation = federation
        counted = {name: value for name, value in vars(options).items() if name not in UNCOUNTED}
        plan = sorted(federation.tasks.items()), sorted(federation.newcomers), federation.conditions
        self.recipe = repr((NUMERICS, method, network, counted, seed, *plan))
        if folder is None:
            folder = Path(tempfile.mkdtemp())
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.folder = folder
        self.device = resolve_device(options.device)
        self.side_by_side = options.resident if self.device.type == "cuda" else 1  # sites that train at a time
        reset_peak(self.device)

        self._maker = make = SiteMaker(method, network, federation, options, seed, folder, self.device)
        self.common, self.plan, self.step = make.common, make.plan, make.step
        self.slots, self.offload = make.slots, make.offload
        own_start = not options.common_start
        self.sites = {"+".join(group): make.site(group, federation, options, own_start) for group in make.groups}
        self.participants = Participation(list(self.sites), options, federation.conditions, seed)
        self.server = Server(self.plan, self.sites, make.build, options, seed)
        check_own_starts(method, self.server, options)
        check_server_rule(method, self.server, options, self.participants)
        self.state = RunState()
        self._secured = 0  # the best round that the checkpoint knows
        self.curve_file = checkpoint.RowsFile(folder / "curve.jsonl")
        self.snapshots = Snapshots(folder, self.server, self.sites, self.slots, self.offload)
        self.selection = Selection(
            method, self.server, self.sites, federation, self.snapshots, self.state, options.rounds
        )
        trim()

    # --- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Train up to `options.rounds` rounds, then score the selected round and the last one on the test split, once each.

        Returns:
            What the run found. A run that diverged is an outcome too, and not an error.

        Raises:
            ContractError: The method breaks its contract in a step.
            ValueError: The checkpoint in the folder is of another run, or the machine lacks what was asked for.
        """
        set_precision(self.options)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        if (here := hardware(self.device)) not in self.state.hardware:
            self.state.hardware.append(here)
        while self.state.round < self.options.rounds and not self.state.diverged:
            self.round(self.state.round + 1)
        return self._outcome()

    def round(self, round: int) -> None:
        """One round: the sites train, the server aggregates; then validation and a checkpoint, where they are due."""
        started, attributes = time.perf_counter(), Attributes(self.method)
        flops, seconds = self.step.flops, dict(self.step.seconds)
        uploads = Uploads(self.folder / "uploads", self.options, self.device)
        rows = self.train_sites(round, uploads)
        if not self.state.diverged:
            with self.step.timing("aggregation"):
                self._aggregate(round, uploads)
        uploads.clear()
        spent = {part: total - seconds.get(part, 0.0) for part, total in self.step.seconds.items()}
        self.state.costs.add(rows.values(), self.step.flops - flops, spent)
        self.state.costs.seconds += time.perf_counter() - started
        self.state.round = round
        last = round == self.options.rounds
        if not self.state.diverged and (last or round % self.options.validate_every == 0):
            self.validate(round, rows)
        self.state.curve += rows.values()
        attributes.check_unchanged(f"in round {round}")
        if self.state.diverged or last or round % self.options.checkpoint_every == 0:
            self._save()
        self._forget()

    def train_sites(self, round: int, uploads: Uploads) -> dict[str, Row]:
        """The sites' part of a round: a row of the curve each. On a GPU several take turns, a local step each."""
        rows: dict[str, Row] = {}
        waiting = deque(self.sites[name] for name in self.participants(round))
        arriving = set(self.participants.arrivals(round))
        if round == 1 and not self.options.common_start:
            meet(self.server, [self.sites[name] for name in sorted(arriving)], self.method.equal_weights)
        at_work: deque[tuple[Row, Iterator[None]]] = deque()
        while (waiting or at_work) and not self.state.diverged:
            if waiting and len(at_work) < self.side_by_side:
                site = waiting.popleft()
                rows[site.name] = curve_row(round, site.name, loss=None)
                arrives = site.name in arriving
                at_work.append((rows[site.name], self.train_site(site, rows[site.name], uploads, arrives)))
                if waiting:
                    self.slots.expect(waiting[0])
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
            self.sites[row["site"]].leave()
        return rows

    def train_site(self, site: SiteState, row: Row, uploads: Uploads, arrives: bool = True) -> Iterator[None]:
        """One site's part of a round: download, local steps, upload, if it arrives; a pause after each step. Fills its row of the
        curve."""
        losses: dict[str, Tensor] = {}
        site.begin(row["round"], self.participants.steps(site.name, site.full, row["round"]))
        with site.slot.on_stream(), self.step.timing("exchange"):
            self._download(site, row)
        yield from site.train(losses)
        self.step.contract.check_trained(
            losses, f"the {site.steps} local steps of site {site.name} in round {site.round}"
        )
        with site.slot.on_stream():
            if arrives:
                with self.step.timing("exchange"):
                    self._upload(site, row, uploads)
            with self.step.timing("waiting"):
                totals = torch.stack(list(losses.values())).tolist()
            row |= {f"loss_{role}": total / site.steps for role, total in zip(losses, totals, strict=True)}
        site.received = None
        site.leave()

    def _download(self, site: SiteState, row: Row) -> None:
        message = self.method.download(self.server, site.name).delivered()
        if row["round"] == 1 and not self.options.common_start:
            site.received = message.model  # in place of the nets that the site lacks
            message |= {"model": site.pack(), "buffers": site.pack_buffers()}
        row["bytes_down"] = self.plan.nbytes(message, site.held)
        site.received = message.model
        with site.hook("receive"):
            self.method.receive(site, message)

    def _upload(self, site: SiteState, row: Row, uploads: Uploads) -> None:
        with site.hook("upload"):
            message = self.method.upload(site).delivered()
        row["bytes_up"] = self.plan.nbytes(message, site.held)
        if site.name in self.federation.poisoned:
            message = poisoned(message, site.received, f"method {type(self.method).__name__} at site {site.name}")
        with self.step.timing("waiting"):
            if not message.is_finite():
                self.state.diverged = f"the upload of site {site.name} is not finite in round {row['round']}"
        uploads.add(site.name, message)

    def _aggregate(self, round: int, uploads: Uploads) -> None:
        """The server's part of a round. Where too few uploads arrived for its rule, it stays as it was."""
        if self.server.has_enough(uploads):
            aggregate: Callable[..., object] = self.method.aggregate
            returned = aggregate(self.server, uploads)
            held = {"model": self.plan.model.numel, "buffers": self.plan.buffers.numel}
            vectors = {name: (getattr(self.server, name), length) for name, length in held.items()}
            self.step.contract.check_server(returned, vectors)
        if self.server.too_few:
            self.state.costs.rounds_with_too_few += 1
            rule = self.options.server_rule
            logging.getLogger(__name__).warning(
                "round %d: %s has too few uploads (%d arrived), so %s",
                round,
                rule.name,
                len(uploads),
                "the server keeps a model" if rule is ServerRule.krum else "it is the plain mean",
            )
        self.server.settle()

    def _watch(self, row: Row) -> None:
        """Report that a site has trained, and notice whether it diverged."""
        losses = {
            role: row[f"loss_{role}"] for role in ("generator", "discriminator") if row[f"loss_{role}"] is not None
        }
        row |= {f"loss_{role}": losses.get(role, math.nan) for role in ("generator", "discriminator")}
        if all(map(math.isfinite, losses.values())):
            self.progress(row["round"], self.options.rounds, row["site"], row["loss_generator"])
        else:
            self.state.diverged = f"the loss at site {row['site']} is not finite in round {row['round']}: {losses}"

    # --- scores ------------------------------------------------------------------------------------------------------

    def validate(self, round: int, rows: dict[str, Row]) -> None:
        """Score the validation subjects, into the round's rows of the curve, and select the round if it is the best."""
        self.selection.validate(round, rows)

    def probe(self) -> list[Row]:
        """Score what the run's conditions ask for besides the sites' own tasks (evaluation/generalisation.py)."""
        adapting = replace(self.options, local_steps=self.federation.conditions.adapt_steps)

        def newcomer(name: str, of: Federation) -> SiteState:
            return self._maker.site([name], of, adapting)

        probes = Probes(self.method, self.server, self.sites, self.federation, newcomer)
        return probes.score(self.state.round, bool(self.state.diverged))

    def _scores(self) -> list[Row]:
        """All test scores. Where one is not finite, the run has diverged after all, and they are those of the mean image."""
        rows = self.selection.scores(self.device) + self.probe()
        if bad := next((row for row in rows if not math.isfinite(row["psnr"])), None):
            where = " ".join(bad[part] for part in ("selection", "site", "task", "subject"))
            self.state.diverged = f"a test score is not finite: {where}"
            rows = self.selection.scores(self.device) + self.probe()
        return rows

    def _outcome(self) -> Outcome:
        digest, attributes = self.digests(), Attributes(self.method)
        scores = self._scores()
        diverged, below = self.state.diverged, self.state.below_floor
        attributes.check_unchanged("when it was scored")
        self._note_memory()
        rate = matrix_rate(self.device, self.options.precision)
        return Outcome(
            status="diverged" if diverged else "done",
            reason=diverged or below,
            below_floor=bool(below and not diverged),
            scores=scores,
            curve=self.state.curve,
            selected_round=0 if diverged else self.state.best_round,
            validation_psnr=0.0 if diverged else self.state.best_psnr,
            gallery={} if diverged else evaluate.gallery(self.method, self.server, self.sites),
            costs=self.state.costs.summary(rate) | parameter_counts(self.sites.values(), self.plan),
            policy=buffer_policy(self.common, self.plan),
            execution=self.step.ran,
            digest=digest,
        )

    # --- the folder --------------------------------------------------------------------------------------------------

    def digests(self) -> dict[str, str]:
        """The SHA-256 of the tensors of each site and of the server, by name."""
        sites = {name: checkpoint.tree_digest(site.slot.weights()) for name, site in self.sites.items()}
        return sites | {"server": checkpoint.tree_digest(self.server.tree())}

    def save_model(self) -> None:
        """Write all that the selected round of a run that is done serves with into one file of its folder."""
        save_model(self.folder, self.state.best_round, self.method, self.server, self.sites)

    def serve_selected(self) -> None:
        """Make the sites and the server serve as they did in the selected round of the run whose model is in the folder.

        Raises:
            ValueError: There is no trained model in the folder.
        """
        load_model(self.folder, self.server, self.sites, self.device)

    def _save(self) -> None:
        self._note_memory()
        curve = self.curve_file.extend(self.state.curve)
        state = asdict(replace(self.state, curve=[])) | {"curve": curve}
        self.snapshots.write(LATEST, {"state": state, "recipe": self.recipe, "device": self.device.type})
        self._secured = self.state.best_round

    def _note_memory(self) -> None:
        self.state.costs.peak_memory_bytes = max(self.state.costs.peak_memory_bytes, peak(self.device))

    def _forget(self) -> None:
        self.snapshots.keep([LATEST, selected(self._secured), selected(self.state.best_round)])

    def _resume(self) -> None:
        self.snapshots.find()
        if LATEST in self.snapshots.names:
            tree = self.snapshots.read(LATEST, self.device)
            if tree["recipe"] != self.recipe:
                raise ValueError(
                    f"the checkpoint in {self.folder} is of another run; give every run a folder of its own. This run is\n"
                    f"{self.recipe}\nthat one is\n{tree['recipe']}"
                )
            if tree["device"] != self.device.type:
                raise ValueError(
                    f"the run in {self.folder} began on {tree['device']}, and would go on here on {self.device.type}: neither "
                    "would have made its numbers. Go on with it where it began, or delete the folder to begin anew"
                )
            self.state.restore(tree["state"] | {"curve": self.curve_file.read(tree["state"]["curve"])})
            self.snapshots.recall(tree, self.state.round)
            self._secured = self.state.best_round
        self._forget()
