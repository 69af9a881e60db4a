"""Both ends of a link: a hospital that answers from its own data, and the stand-in for it that the server's loop of rounds has.

A request and its answer are bytes (runtime/checkpoint.py), and a framework carries them, or fails to. A request names the last
round of the site that the server knows of. Where the site has trained since, it goes back to its state of then: so a site that
was late, or died, is as if it had been away.
"""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from fedsynth.evaluation.evaluate import serving
from fedsynth.exchange import Message
from fedsynth.federation import Federation, FederationError
from fedsynth.registry import METHODS
from fedsynth.runtime import checkpoint
from fedsynth.runtime.device import resolve_device, set_precision
from fedsynth.site import SiteState
from fedsynth.trainer import Trainer
from fedsynth.trainer.model import MODEL, own_weights
from fedsynth.trainer.outcome import Row, curve_row
from fedsynth.trainer.site_maker import SiteMaker
from fedsynth.trainer.site_party import Answer, LinkError, SiteParty
from fedsynth.trainer.trainer import Progress, recipe, silent

from ...config.code_digest import digests
from ...config.compose import composed, load_choices
from ...config.errors import OptionError
from ...config.explain import explained
from ...config.schema import IN_TRAINER, Run

POLL = 0.02  # seconds between two looks for an answer
HANDED_OVER = {  # methods whose server sends what one site uploaded to others
    "fedbn_released": "the norms of one site",
    "fedfomo": "the models of other sites, one by one",
    "fedmri": "the encoder and the model of another site",
    "flmrcm": "latent features of training slices of the target site",
}
Ask = Callable[[str, bytes], "Future[bytes]"]  # asks a site, and has its answer or a LinkError


def agreed_run(words: Sequence[str]) -> Run:
    """The run that all parties have agreed on, in the words of a command line.

    Raises:
        OptionError: It cannot be run, or not with the data of each site at the site.
    """
    load_choices()
    with explained():
        run = Run.of(composed(words))
        names = run.scenario.roster().names
    if groups := [group for group in run.method.federate(names) if len(group) > 1]:
        raise OptionError(
            f"method={METHODS.name_of(type(run.method))} trains on the slices of {' and '.join(groups[0])} in one place, which "
            "here are in hospitals that keep them; deploy another method"
        )
    return run


def warning(run: Run) -> str:
    """What a hospital has to know of the method before it takes part; empty where there is nothing."""
    name = METHODS.name_of(type(run.method))
    found = HANDED_OVER.get(name, "")
    return found and f"method={name} sends sites {found}: so what a hospital uploads reaches others as it is"


def shared_facts(run: Run) -> dict[str, str]:
    """What all parties of a run must have alike: its recipe, the code of what it chooses, the versions."""
    chosen = {"method": run.method, "network": run.network} | {kind: getattr(run.trainer, kind) for kind in IN_TRAINER}
    options = recipe(run.method, run.network, run.scenario.roster(), run.trainer, run.seed)
    return (
        {"options": options}
        | {f"code of the {kind}": digests()[type(thing)] for kind, thing in chosen.items()}
        | {f"version of {name}": version(name) for name in ("fedsynth", "torch", "numpy")}
        | {"version of Python": platform.python_version()}
    )


class HospitalSite:
    """A site in a process of its own.

    Args:
        run: What all have agreed on; its data set is the site's own.
        name: Of the site.
        folder: Where it keeps its states, its journal of what it sent, and at the end its model.
    """

    def __init__(self, run: Run, name: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        roster = run.scenario.roster()
        if name not in roster.names:
            raise FederationError(f"site {name!r} is not in the run, whose sites are {', '.join(roster.names)}")
        data = run.scenario.site(name, run.dataset, folder / "cache")
        self._here = here = Federation({name: data}, roster.tasks, {}, roster.conditions)
        set_precision(run.trainer)
        self._run, self._name, self._folder, self._device = run, name, folder, resolve_device(run.trainer.device)
        self._maker = SiteMaker(run.method, run.network, here, run.trainer, run.seed, folder, self._device)
        self.site = self._maker.site([name], here, run.trainer)
        self._party = SiteParty(self.site, run.method, here, self._maker, run.trainer)

    def reply(self, request: bytes) -> bytes:
        """The answer to a request. What it says is written into the journal before it leaves."""
        asked = checkpoint.from_bytes(request, self._device)
        if asked["trained"] != self._party.trained:
            self._maker.slots.vacate()
            self._party.recall(asked["trained"], max(asked["round"], 1))
        work = {
            "facts": self._facts,
            "train": self._train,
            "answer": self._answer,
            "digest": self._digest,
            "serve": self._serve,
        }
        found = work[asked["what"]](asked)
        answer = checkpoint.to_bytes(found)
        line = {"round": asked["round"], "what": asked["what"], "sent": _told(found), "bytes": len(answer)}
        with (self._folder / "journal.jsonl").open("a") as journal:
            journal.write(f"{json.dumps(line)}\n")
        return answer

    def _facts(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        size = "x".join(map(str, self._here.size))
        alike = shared_facts(self._run) | {"size of the slices": size}
        return {"samples": self._party.samples, "full": self._party.full, "fingerprint": alike}

    def _train(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        row, sent = curve_row(asked["round"], self._name, loss=None), list[Message]()
        message = Message(asked["message"])
        # of what it trained since then, the server knows nothing: the round may end differently this time
        self._maker.offload.forget_all_but((self._name, round) for round in {*asked["needed"], asked["trained"]})
        for _ in self._party.train(row, asked["steps"], lambda: message, sent.append if asked["arrives"] else None):
            pass
        self._party.keep()
        return {"row": row, "upload": dict(sent[0]) if sent else None}

    def _answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self._party.answer(asked["round"], Message(asked["message"]), asked["floor"]))

    def _serve(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Leave the model of the round that was selected: with what the server sends, it is all that the site serves with."""
        message = Message(asked["message"])
        own = own_weights(self._run.method, message, self.site)
        checkpoint.save(
            self._folder / MODEL, {"round": asked["round"], "trained": self._party.trained, "message": message} | own
        )
        return {}

    @contextmanager
    def serving(self) -> Iterator[SiteState]:
        """Inside, the site serves with the model that the run left it.

        Raises:
            CheckpointError: There is none, or it was damaged.
        """
        tree = checkpoint.load(self._folder / MODEL, self._device)
        self.site.enter(tree["round"])
        self.site.slot.load({**self.site.tensors, **tree["tensors"]}, tree["memory"])
        self.site.state = (self._name, tree["trained"])
        with serving(self._run.method, Message(tree["message"]), self.site), torch.no_grad():
            yield self.site

    def _digest(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"digest": self._party.digest()}


def _told(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as its journal tells it: of a tensor its shape."""
    return {
        key: list(value.shape)
        if isinstance(value, torch.Tensor)
        else _told(value)
        if isinstance(value, dict)
        else value
        for key, value in answer.items()
    }


class RemoteSite:
    """A site that is elsewhere, as a party of the loop of rounds. `needed` are the rounds whose states may be asked for again.

    Raises LinkError where the site does not answer.
    """

    def __init__(self, name: str, ask: Ask, device: torch.device) -> None:
        self._name, self._ask, self._device = name, ask, device
        self.trained, self.bytes_sent, self.bytes_received = 0, 0, 0
        self.needed: Callable[[], list[int]] = list
        facts = self._wait(self._request("facts", 0))
        self.samples, self.full = int(facts["samples"]), int(facts["full"])
        self.fingerprint: dict[str, str] = facts["fingerprint"]

    def _request(self, what: str, round: int, **more: Any) -> Future[bytes]:
        state = {"trained": self.trained, "needed": self.needed()}
        request = checkpoint.to_bytes({"what": what, "round": round} | state | more)
        self.bytes_sent += len(request)
        return self._ask(self._name, request)

    def _wait(self, answer: Future[bytes]) -> dict[str, Any]:
        content = answer.result()
        self.bytes_received += len(content)
        return checkpoint.from_bytes(content, self._device)

    def train(
        self, row: Row, steps: int, download: Callable[[], Message], send: Callable[[Message], None] | None
    ) -> Generator[None, None, None]:
        """Let the site do its part of a round; pauses until its answer is here."""
        message = dict(download().delivered())
        answer = self._request("train", row["round"], steps=steps, arrives=send is not None, message=message)
        while not answer.done():
            time.sleep(POLL)
            yield
        found = self._wait(answer)
        row |= found["row"]
        self.trained = row["round"]
        if send:
            send(Message(found["upload"]))

    def answer(self, round: int, message: Message, floor: bool) -> Answer:
        """Its validation scores."""
        found = self._wait(self._request("answer", round, message=dict(message.delivered()), floor=floor))
        return Answer(psnr=found["psnr"], ssim=found["ssim"], floor=found["floor"])

    def keep(self) -> int:
        """It has put its state on its disk already, after it trained."""
        return self.trained

    def recall(self, trained: int, round: int) -> None:
        """Its next request names that state."""
        self.trained = trained

    def serve(self, round: int, message: Message) -> None:
        """Let it leave its model of that round, in which `recall` left it."""
        self._wait(self._request("serve", round, message=dict(message.delivered())))

    def digest(self) -> str:
        """The SHA-256 of its tensors; empty where it does not answer, at the end of a run that went on without it."""
        try:
            return str(self._wait(self._request("digest", 0))["digest"])
        except LinkError:
            return ""


def serve(run: Run, ask: Ask, folder: Path, progress: Progress = silent) -> tuple[Trainer, dict[str, RemoteSite]]:
    """Train the run over its links, from the checkpoint that is in the folder if there is one. Returns what did, and the sites.

    Raises:
        OptionError: A site does not answer to begin with, or has other code, options or versions.
    """
    roster, device = run.scenario.roster(), resolve_device(run.trainer.device)
    sites: dict[str, RemoteSite] = {}
    for name in roster.names:
        try:
            sites[name] = RemoteSite(name, ask, device)
        except LinkError as error:
            raise OptionError(f"site {name} cannot take part, so the run does not begin: {error}") from error
    first = next(iter(sites.values())).fingerprint
    for name, theirs in [
        ("the server", shared_facts(run)),
        *((f"site {name}", site.fingerprint) for name, site in sites.items()),
    ]:
        if other := [what for what in theirs if theirs[what] != first[what]]:
            raise OptionError(
                f"{name} has another {other[0]} than site {roster.names[0]}, so the run does not begin: "
                f"{apart(theirs[other[0]], first[other[0]])}, and there {apart(first[other[0]], theirs[other[0]])}; agree on one"
            )
    trainer = Trainer(run.method, run.network, roster, run.trainer, run.seed, folder, progress, elsewhere=sites)
    for name, site in sites.items():

        def needed(name: str = name) -> list[int]:
            return [round for kept in trainer.snapshots.names.values() for site, round in kept if site == name]

        site.needed = needed
    trainer.train()
    return trainer, sites


def apart(one: str, other: str) -> str:
    """What a text has that another lacks.

    Example:
        >>> apart("FedAvg(), 'lr': 0.5", "FedAvg(), 'lr': 0.1")
        "'lr': 0.5"
    """
    there = other.split(", ")
    return ", ".join(part for part in one.split(", ") if part not in there)


def leave_models(trainer: Trainer, sites: Mapping[str, RemoteSite]) -> None:
    """Let every site that answers leave its model of the selected round, in which the parties are then."""
    trainer.recall_selected()
    for name, site in sites.items():
        try:
            site.serve(trainer.state.best_round, trainer.server_party.download(name))
        except LinkError as error:
            logging.getLogger(__name__).warning("site %s left no model: %s", name, error)
