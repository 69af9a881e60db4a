"""`fedsynth check`: the contract's rules, tried on a method in seconds on a CPU, each with what it is for."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fedsynth.exchange import ContractError, Message, places
from fedsynth.federation import Federation, Site, Subject, Task
from fedsynth.method import Method
from fedsynth.networks.network import Network
from fedsynth.options import TrainerOptions
from fedsynth.registry import METHODS, NETWORKS
from fedsynth.site import SiteState
from fedsynth.trainer import Outcome, Trainer

TASKS = {"a": ("T1->T2", "T2->PD"), "b": ("T1->T2",), "c": ("T1->T2", "T2->T1")}
SMALL = {"width": 4, "blocks": 3, "latent": 8, "pools": 2, "discriminator_width": 4, "discriminator_layers": 1}


def small(network: type[Network]) -> Network:
    """The network at a size for checks: as narrow as its options allow."""
    options: dict[str, Any] = {name: value for name, value in SMALL.items() if name in network.__dataclass_fields__}
    return network(**options)


def federation(names: str = "abc", size: int = 16) -> Federation:
    """Sites of square blobs, different at each site; they are for checking rules, not for learning anything."""
    sites = {}
    for name in names:
        stream = np.random.default_rng(ord(name))
        tissue = np.kron(stream.random((10, 1, 4, 4)), np.ones((size // 4, size // 4)))
        images = np.concatenate([tissue, 1 - tissue, tissue ** (0.5 + 0.1 * ord(name) % 1)], 1) * 2 - 1
        splits = ["train"] * 3 + ["val", "test"]
        subjects = tuple(Subject(f"{name}{k}", split, slice(2 * k, 2 * k + 2)) for k, split in enumerate(splits))
        sites[name] = Site(name, ("T1", "T2", "PD"), images.astype(np.float16), tissue[:, 0] > 0.1, subjects)
    return Federation(sites, {name: tuple(map(Task.parse, TASKS[name])) for name in names})


@dataclass(frozen=True)
class Case:
    """A method on its published network, small, with short runs to compare."""

    method: Method
    network: Network
    options: TrainerOptions = field(
        default_factory=lambda: TrainerOptions(rounds=3, local_steps=3, batch=2, lr=1e-3, zoom=1.0, device="cpu")
    )

    def trainer(self, names: str = "abc", folder: Path | None = None, **options: Any) -> Trainer:
        return Trainer(
            deepcopy(self.method),
            self.network,
            federation(names),
            replace(self.options, **options),
            seed=0,
            folder=folder,
        )

    @cached_property
    def outcome(self) -> Outcome:
        return self.trainer().run()


Rule = Callable[[Case], Iterator[str]]
RULES: list[tuple[str, str, Rule]] = []


def rule(name: str, purpose: str) -> Callable[[Rule], Rule]:
    """Register a rule: a generator of what is wrong with a case; `purpose` completes "so that ..."."""

    def add(function: Rule) -> Rule:
        RULES.append((name, purpose, function))
        return function

    return add


@rule("trains", "a run of it ends with scores")
def trains(case: Case) -> Iterator[str]:
    rows = case.outcome.curve
    if bad := [row for row in rows if not np.isfinite(row["loss_generator"])]:
        yield f"the generator's loss is {bad[0]['loss_generator']} at site {bad[0]['site']} in round {bad[0]['round']}"


@rule("leaves the loop to the trainer", "mixed precision, clipping and captured steps hold for every method")
def leaves_the_loop(case: Case) -> Iterator[str]:
    source = inspect.getsource(type(case.method))
    for call in (r"\.backward\(", r"(?<!super\(\))\.step\(\)", r"\.zero_grad\("):
        if found := re.search(call, source):
            yield f"its source holds {found.group()!r}; yield the loss instead"


@rule("keeps nothing on itself", "a run can be saved and resumed, and two runs never meet")
def keeps_nothing(case: Case) -> Iterator[str]:
    trainer = case.trainer()
    before = deepcopy(vars(trainer.method))
    trainer.run()
    if vars(trainer.method) != before:
        changed = {k for k in vars(trainer.method) if vars(trainer.method)[k] != before.get(k)}
        yield f"a run changed its attributes {sorted(changed)}; keep state in site.memory or server.memory"


@rule("resumes exactly", "a killed run ends as an uninterrupted one would")
def resumes(case: Case) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        first = case.trainer(folder=Path(name))
        first._round(1)
        first._round(2)
        resumed = case.trainer(folder=Path(name)).run()
    yield from _differences(resumed, case.outcome, "a run resumed after round 2")


@rule("is not touched by scoring", "how often a run is validated changes nothing")
def scoring(case: Case) -> Iterator[str]:
    yield from _differences(case.trainer(validate_every=3).run(), case.outcome, "a run validated once")


@rule("does not see the order of sites", "listing sites otherwise changes no number")
def order(case: Case) -> Iterator[str]:
    yield from _differences(case.trainer("cab").run(), case.outcome, "a run with the sites listed in another order")


@rule("keeps local what is local", "nothing that must stay at a site is ever uploaded")
def poison(case: Case) -> Iterator[str]:
    trainer = case.trainer(rounds=1)
    original, leaks = trainer.method.upload, list[str]()

    def upload(site: SiteState) -> Message:
        with site.preserved(), torch.no_grad():
            for place, tensor in places(site.nets):
                if place.path not in site.held:
                    tensor.fill_(torch.nan)
            message = original(site)
        values = {key: value for key, value in message.items() if isinstance(value, Tensor)}
        leaks.extend(f"upload[{key!r}]" for key, value in values.items() if not torch.isfinite(value).all())
        return message

    _replace(trainer.method, "upload", upload)
    trainer._round(1)
    for leak in dict.fromkeys(leaks):
        yield f"{leak} holds values of tensors that do not travel"


@rule("shares what it says", "what travels is the same at every site after a download")
def shares(case: Case) -> Iterator[str]:
    trainer = case.trainer()
    trainer.run()
    for site in trainer.sites.values():
        message = trainer.method.download(trainer.server, site.name)
        for key, layout in (("model", trainer.plan.model), ("buffers", trainer.plan.buffers)):
            if key in message and message.tensor(key).shape[-1] != layout.numel:
                yield f"download()[{key!r}] has {message.tensor(key).shape[-1]} numbers; the plan has {layout.numel}"


@rule("step is a function of the phase", "a step can be recorded once and replayed")
def phases(case: Case) -> Iterator[str]:
    trainer = case.trainer()
    seen: dict[tuple[str, str, str], list[str]] = {}
    complaints: list[str] = []
    original = trainer.method.step

    def watched(site: Any, batch: Any) -> Iterator[Any]:
        numbers = {key: value for key, value in site.memory.items() if not isinstance(value, Tensor)}
        players = []
        for player, loss in original(site, batch):
            players.append(str(player))
            yield player, loss
        after = {key: value for key, value in site.memory.items() if not isinstance(value, Tensor)}
        if after != numbers:
            complaints.append(
                f"step changed plain numbers in site.memory ({sorted(set(after) ^ set(numbers)) or 'values'})"
            )
        key = (site.name, str(batch.task), site.phase)
        if seen.setdefault(key, players) != players:
            complaints.append(f"step yields {players} and {seen[key]} in the same phase {site.phase!r}")

    _replace(trainer.method, "step", watched)
    trainer.run()
    yield from dict.fromkeys(complaints)


class _NoWaiting(TorchDispatchMode):
    """Collects the operations that would make the host wait for a GPU."""

    waiting = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in self.waiting:
            self.found[func.overloadpacket.__name__] = None
        return func(*args, **(kwargs or {}))


@rule("does not wait for the host", "a GPU is never idle inside a step")
def no_waiting(case: Case) -> Iterator[str]:
    trainer = case.trainer(rounds=1)
    original, mode = trainer.method.step, _NoWaiting()

    def watched(site: SiteState, batch: Any) -> Iterator[Any]:
        pairs = original(site, batch)
        while True:
            with mode:
                pair = next(pairs, None)
            if pair is None:
                return
            yield pair

    _replace(trainer.method, "step", watched)
    trainer._round(1)
    for operation in mode.found:
        yield f"its step uses {operation} (.item(), float(tensor), a boolean mask, `if tensor`); keep numbers on the device"


@rule("remembers in fixed shapes", "a replayed step finds its memory where it was")
def shapes(case: Case) -> Iterator[str]:
    trainer = case.trainer()
    trainer._round(1)
    trainer._round(2)
    before = {
        (s.name, k): v.shape for s in trainer.sites.values() for k, v in s.memory.items() if isinstance(v, Tensor)
    }
    trainer._round(3)
    after = {(s.name, k): v.shape for s in trainer.sites.values() for k, v in s.memory.items() if isinstance(v, Tensor)}
    if before != after:
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        yield f"the shapes in site.memory change after round 2: {sorted(changed)}"


@rule("works with sites missing", "a round with some of the sites is a round")
def participation(case: Case) -> Iterator[str]:
    outcome = case.trainer(participation=0.5).run()
    if not all(np.isfinite(row["psnr"]) for row in outcome.scores):
        yield "with half of the sites in a round a score is not finite"


@rule("works with one site", "a federation may be small")
def alone(case: Case) -> Iterator[str]:
    outcome = case.trainer("a").run()
    if not all(np.isfinite(row["psnr"]) for row in outcome.scores):
        yield "with one site a score is not finite"


@rule("fits other networks", "method and network are two axes")
def networks(case: Case) -> Iterator[str]:
    for name, entry in NETWORKS.entries().items():
        try:
            replace(case, network=small(entry.cls)).trainer(rounds=1, local_steps=1).run()
        except ContractError:
            raise
        except Exception as error:
            yield f"network={name}: {type(error).__name__}: {error}"


def _replace(method: Method, hook: str, function: Callable[..., Any]) -> None:
    """Put a watching function in the place of one method's hook."""
    setattr(method, hook, function)


def _differences(one: Outcome, other: Outcome, what: str) -> Iterator[str]:
    if names := sorted(name for name in other.digest if one.digest.get(name) != other.digest[name]):
        yield f"{what} ends with other tensors at {', '.join(names)}"
    elif one.scores != other.scores:
        yield f"{what} ends with the same tensors and other scores"


def check(name: str) -> list[tuple[str, str, list[str]]]:
    """(rule, purpose, what is wrong) for every rule, on the method's published network with its default options."""
    cls = METHODS[name]
    case = Case(cls(), small(NETWORKS[cls.published]))
    results = []
    for title, purpose, function in RULES:
        try:
            wrong = list(function(case))
        except Exception as error:  # a broken plugin may raise anything: that is a finding, not our failure
            wrong = [f"{type(error).__name__}: {error}"]
        results.append((title, purpose, wrong))
    return results


def main(argv: list[str]) -> int:
    """Check the named methods, or all; returns 1 if a rule is broken."""
    parser = argparse.ArgumentParser(prog="fedsynth check", description=__doc__)
    parser.add_argument("methods", nargs="*", metavar="METHOD")
    parser.add_argument("--all", action="store_true", help="every registered method")
    given = parser.parse_args(argv)
    if bool(given.methods) == given.all:
        parser.error("name at least one method, or --all")
    torch.set_num_threads(1)
    failed = 0
    for name in METHODS.entries() if given.all else given.methods:
        print(name)
        for title, purpose, wrong in check(name):
            print(f"  {'broken' if wrong else 'ok':8}{title}" + (f", so that {purpose}" if wrong else ""))
            for text in wrong:
                print(f"          {text}")
            failed += bool(wrong)
    if failed:
        print(f"{failed} rule{'s' * (failed > 1)} broken", file=sys.stderr)
    return int(failed > 0)
