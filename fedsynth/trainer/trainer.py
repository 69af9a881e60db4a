"""The only training loop: rounds of download, local training, upload and aggregation, for every method alike."""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from ..evaluation import evaluate
from ..evaluation.generalisation import Probes
from ..exchange import Message
from ..federation import Federation, Roster
from ..method import Method
from ..networks.network import Network
from ..runtime import checkpoint
from ..runtime.device import hardware, matrix_rate, peak, reset_peak, resolve_device, set_precision, trim
from ..runtime.options import UNCOUNTED, TrainerOptions, check_finite
from ..server import Server
from ..server.uploads import Uploads
from ..site import SiteState
from .attributes import Attributes
from .model import load_model, save_model
from .outcome import Outcome, Row, RunState, curve_row
from .participation import Participation
from .server_party import ServerParty
from .sharing import buffer_policy, parameter_counts
from .site_maker import SiteMaker
from .site_party import DONE, Answer, LinkError, Party, SiteParty
from .snapshots import LATEST, Snapshots, selected

NUMERICS = 2  # part of every run's identity: raise it when a change of the engine changes numbers

Progress = Callable[[int, int, str, float], None]


def silent(round: int, rounds: int, site: str, loss: float) -> None:
    """The progress that shows nothing."""


def recipe(method: Method, network: Network, roster: Roster, options: TrainerOptions, seed: int) -> str:
    """What a run is made by. All its parties have the same, and so have all processes that go on with it."""
    counted = {name: value for name, value in vars(options).items() if name not in UNCOUNTED}
    plan = sorted(roster.tasks.items()), sorted(roster.newcomers), roster.conditions
    return repr((NUMERICS, method, network, counted, seed, *plan))


class Trainer:
    """Trains one method on one federation.

    Args:
        method: With its options.
        network: What the method makes its nets of, with its options.
        federation: The sites and their tasks; where the sites are elsewhere, the roster.
        options: How every method trains.
        seed: Of every random stream of the run.
        folder: Where checkpoints lie. A run goes on from the checkpoint that it finds there; None for a temporary folder.
        progress: Called with (round, rounds, site, generator loss) after a site's local training.
        elsewhere: Name -> the site, where it is in another process. By default all sites are here.

    Attributes:
        parties: Name -> each site, or each group that trains as one, as the loop of rounds sees it.
        server_party: The server, as the loop sees it.
        sites: Name -> the state of each site that is here.
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
        federation: Roster,
        options: TrainerOptions,
        seed: int,
        folder: Path | None = None,
        progress: Progress = silent,
        elsewhere: Mapping[str, Party] | None = None,
    ) -> None:
        for group, chosen in {"method": method, "network": network, "scenario": federation.conditions}.items():
            check_finite(group, chosen)
        self.method, self.options, self.seed, self.progress = method, options, seed, progress
        self.federation = federation
        self.recipe = recipe(method, network, federation, options, seed)
        if folder is None:
            folder = Path(tempfile.mkdtemp())
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.folder = folder
        self.device = resolve_device(options.device)
        here = options.resident if self.device.type == "cuda" else 1
        self.side_by_side = here if elsewhere is None else len(elsewhere)  # sites that train at a time
        reset_peak(self.device)

        self._maker = make = SiteMaker(method, network, federation, options, seed, folder, self.device)
        self.common, self.plan, self.step = make.common, make.plan, make.step
        self.slots, self.offload = make.slots, make.offload
        self.sites: dict[str, SiteState] = {}
        self.parties = dict(elsewhere or {})
        if isinstance(federation, Federation):
            self.sites = {"+".join(group): make.site(group, federation, options) for group in make.groups}
            for name, site in self.sites.items():
                self.parties[name] = SiteParty(site, method, federation, make, options)
        samples = {name: party.samples for name, party in self.parties.items()}
        self.server_party = ServerParty(method, federation, make, samples, options, seed)
        self.state = RunState()
        self._secured = 0  # the best round that the checkpoint knows
        self.curve_file = checkpoint.RowsFile(folder / "curve.jsonl")
        self.snapshots = Snapshots(folder, self.server, self.parties, self.slots, self.offload)
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
        self.train()
        return self._outcome()

    def train(self) -> None:
        """Train up to `options.rounds` rounds, with the errors of `run`."""
        set_precision(self.options)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        if (here := hardware(self.device)) not in self.state.hardware:
            self.state.hardware.append(here)
        while self.state.round < self.options.rounds and not self.state.diverged:
            self.round(self.state.round + 1)

    @property
    def server(self) -> Server:
        """What the server holds."""
        return self.server_party.server

    @property
    def participants(self) -> Participation:
        """Says who takes part in a round."""
        return self.server_party.participants

    def round(self, round: int) -> None:
        """One round: the sites train, the server aggregates; then validation and a checkpoint, where they are due."""
        started, attributes = time.perf_counter(), Attributes(self.method)
        flops, seconds = self.step.flops, dict(self.step.seconds)
        uploads = Uploads(self.folder / "uploads", self.options, self.device)
        rows = self.train_sites(round, uploads)
        if not self.state.diverged:
            with self.step.timing("aggregation"):
                self.state.costs.rounds_with_too_few += self.server_party.aggregate(round, uploads)
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
        self.server_party.begin(round)
        waiting = deque(self.participants(round))
        arriving = set(self.participants.arrivals(round))
        at_work: deque[tuple[Row, Generator[None, None, None]]] = deque()
        while (waiting or at_work) and not self.state.diverged:
            if waiting and len(at_work) < self.side_by_side:
                name = waiting.popleft()
                rows[name] = row = curve_row(round, name, loss=None)
                party, send = self.parties[name], partial(self._arrive, round, name, uploads)
                steps = self.participants.steps(name, party.full, round)
                download = partial(self.server_party.download, name)
                at_work.append((row, party.train(row, steps, download, send if name in arriving else None)))
                if waiting and waiting[0] in self.sites:
                    self.slots.expect(self.sites[waiting[0]])
            row, work = at_work.popleft()
            try:
                if next(work, DONE) is not DONE:
                    at_work.append((row, work))
                else:
                    self._watch(row)
            except LinkError as error:
                self._miss(round, row["site"], error)
                del rows[row["site"]]
        for row, work in at_work:  # where a run diverged
            row |= dict.fromkeys(("loss_generator", "loss_discriminator"), math.nan)
            work.close()
        return rows

    def _arrive(self, round: int, name: str, uploads: Uploads, message: Message) -> None:
        with self.step.timing("waiting"):
            if not message.is_finite():
                self.state.diverged = f"the upload of site {name} is not finite in round {round}"
        uploads.add(name, message)

    def _miss(self, round: int, name: str, error: LinkError) -> None:
        """Go on without a site that did not answer."""
        logging.getLogger(__name__).warning("round %d goes on without site %s: %s", round, name, error)

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
        """Score the validation subjects, into the round's rows of the curve, and keep the round if it is the best."""
        started, last = time.perf_counter(), round == self.options.rounds
        answers: dict[str, Answer] = {}
        for name, party in self.parties.items():
            try:
                answers[name] = party.answer(round, self.server_party.download(name), floor=last)
            except LinkError as error:
                self._miss(round, name, error)
        if not answers:
            raise LinkError(f"no site answers to the validation of round {round}")
        for name, answer in answers.items():
            if answer["psnr"]:
                row = rows.setdefault(name, curve_row(round, name))
                row |= {"val_psnr": float(np.mean([*answer["psnr"].values()])), "val_ssim": answer["ssim"]}
        if self.server_party.select(round, answers, self.state):
            self.snapshots.write(selected(round), {})
        self.state.costs.evaluation_seconds += time.perf_counter() - started

    def score(self, split: str) -> list[Row]:
        """The scores of what all sites but the poisoned ones serve now, a row for each task and subject."""
        download, but = self.server_party.download, self.federation.poisoned
        parts = [evaluate.score(self.method, download(name), site, split, but) for name, site in self.sites.items()]
        return [row for part in parts for row in part]

    def gallery(self) -> dict[str, dict[str, np.ndarray]]:
        """Some test slices of every site and what it makes of them (`evaluate.gallery`)."""
        parts = [evaluate.gallery(self.method, self.server_party.download(name), s) for name, s in self.sites.items()]
        return {place: images for part in parts for place, images in part.items()}

    def probe(self) -> list[Row]:
        """Score what the run's conditions ask for besides the sites' own tasks (evaluation/generalisation.py)."""
        assert isinstance(self.federation, Federation), "sites that are elsewhere are scored there"
        adapting = replace(self.options, local_steps=self.federation.conditions.adapt_steps)

        def newcomer(name: str, of: Federation) -> SiteState:
            return self._maker.site([name], of, adapting, newcomer=True)

        probes = Probes(self.method, self.server_party.download, self.sites, self.federation, newcomer)
        return probes.score(self.state.round, bool(self.state.diverged))

    def score_selections(self) -> list[Row]:
        """The test scores after the last round and after the best, in which this leaves the sites; a row each. Of a run that
        diverged, they are those of the mean training image."""
        if self.state.diverged:
            feeds = [feed for site in self.sites.values() for name, feed in site.feeds.items()]
            feeds = [feed for feed in feeds if feed.name not in self.federation.poisoned]
            last = selection = [
                row for feed in feeds for task in feed.tasks for row in evaluate.mean_image(feed, task, "test")
            ]
        else:
            last = selection = self.score("test")
            if self.state.best_round != self.options.rounds:
                self.recall_selected()
                selection = self.score("test")
        both = (("selected", selection), ("last", last))
        return [{"selection": name} | row for name, rows in both for row in rows]

    def recall_selected(self) -> None:
        """Make all parties what they were after the round that was selected."""
        best = self.state.best_round
        self.snapshots.recall(self.snapshots.read(selected(best), self.device), best)

    def _scores(self) -> list[Row]:
        """All test scores. Where one is not finite, the run has diverged after all, and they are those of the mean image."""
        rows = self.score_selections() + self.probe()
        if bad := next((row for row in rows if not math.isfinite(row["psnr"])), None):
            where = " ".join(bad[part] for part in ("selection", "site", "task", "subject"))
            self.state.diverged = f"a test score is not finite: {where}"
            rows = self.score_selections() + self.probe()
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
            gallery={} if diverged else self.gallery(),
            costs=self.state.costs.summary(rate) | parameter_counts(self.sites.values(), self.plan),
            policy=buffer_policy(self.common, self.plan),
            execution=self.step.ran,
            digest=digest,
        )

    # --- the folder --------------------------------------------------------------------------------------------------

    def digests(self) -> dict[str, str]:
        """The SHA-256 of the tensors of each site and of the server, by name."""
        sites = {name: party.digest() for name, party in self.parties.items()}
        return sites | {"server": checkpoint.tree_digest(self.server.tree())}

    def save_model(self) -> None:
        """Write all that the selected round of a run that is done serves with into one file of its folder."""
        save_model(self.folder, self.state.best_round, self.method, self.server_party, self.sites)

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
