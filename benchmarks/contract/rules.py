"""The rules of a method's contract, each a function that says what is wrong with a case, and what the rule is for."""

from __future__ import annotations

import inspect
import re
import tempfile
from collections.abc import Callable, Iterator
from copy import copy, deepcopy
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from fedsynth.evaluation import evaluate
from fedsynth.evaluation.evaluate import mean_psnr
from fedsynth.exchange import ContractError, Message, places
from fedsynth.federation import Task
from fedsynth.feed import Batch
from fedsynth.method import Method
from fedsynth.registry import NETWORKS
from fedsynth.runtime.options import Offload
from fedsynth.site import SiteState
from fedsynth.trainer import Outcome, Trainer

from .toy import NEWCOMER, ToyFederation, federation, small

Rule = Callable[[ToyFederation], Iterator[str]]
RULES: list[tuple[str, str, Rule]] = []


def rule(name: str, purpose: str) -> Callable[[Rule], Rule]:
    """Register a rule: a generator of what is wrong with a case; `purpose` completes "so that ..."."""

    def add(function: Rule) -> Rule:
        RULES.append((name, purpose, function))
        return function

    return add


@rule("trains", "a run of it ends with scores")
def trains(case: ToyFederation) -> Iterator[str]:
    rows = case.outcome.curve
    if bad := [row for row in rows if not np.isfinite(row["loss_generator"])]:
        yield f"the generator's loss is {bad[0]['loss_generator']} at site {bad[0]['site']} in round {bad[0]['round']}"


@rule("learns", "its scores mean something")
def learns(case: ToyFederation) -> Iterator[str]:
    trainer = case.trainer("ac", rounds=2, local_steps=20, lr=3e-3)
    before, after = mean_psnr(evaluate.score(trainer.method, trainer.server, trainer.sites, "train")), 0.0
    for round in (1, 2):
        trainer.round(round)
    after = mean_psnr(evaluate.score(trainer.method, trainer.server, trainer.sites, "train"))
    if not after > before:
        yield f"40 local steps lead from {before:.2f} dB to {after:.2f} dB on the training slices"


@rule("leaves the loop to the trainer", "mixed precision, clipping and captured steps hold for every method")
def leaves_the_loop(case: ToyFederation) -> Iterator[str]:
    source = inspect.getsource(type(case.method))
    for call in (r"\.backward\(", r"(?<!super\(\))\.step\(\)", r"\.zero_grad\("):
        if found := re.search(call, source):
            yield f"its source holds {found.group()!r}; yield the loss instead"


@rule("keeps nothing on itself", "a run can be saved and resumed, and two runs never meet")
def keeps_nothing(case: ToyFederation) -> Iterator[str]:
    trainer = case.trainer()
    before = deepcopy(vars(trainer.method))
    trainer.run()
    if vars(trainer.method) != before:
        changed = {k for k in vars(trainer.method) if vars(trainer.method)[k] != before.get(k)}
        yield f"a run changed its attributes {sorted(changed)}; keep state in site.memory or server.memory"


@rule("resumes exactly", "a killed run ends as an uninterrupted one would")
def resumes(case: ToyFederation) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        first = case.trainer(folder=Path(name), checkpoint_every=1)
        first.round(1)
        first.round(2)
        resumed = case.trainer(folder=Path(name), checkpoint_every=1).run()
    yield from _differences(resumed, case.outcome, "a run resumed after round 2")


@rule("may be offloaded", "any number of sites fits on a device: they take turns in its memory")
def offloaded(case: ToyFederation) -> Iterator[str]:
    turns = case.trainer(resident=1, offload=Offload.disk).run()
    yield from _differences(turns, case.outcome, "a run whose sites share one slot")


@rule("is not touched by scoring", "how often a run is validated changes nothing")
def scoring(case: ToyFederation) -> Iterator[str]:
    every, once = (_last(outcome) for outcome in (case.trainer(validate_every=1).run(), case.outcome))
    yield from _differences(every, once, "a run validated in every round")


@rule("does not see the order of sites", "listing sites otherwise changes no number")
def order(case: ToyFederation) -> Iterator[str]:
    yield from _differences(case.trainer("cab").run(), case.outcome, "a run with the sites listed in another order")


@rule("keeps local what is local", "nothing that must stay at a site is ever uploaded")
def poison(case: ToyFederation) -> Iterator[str]:
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
    trainer.round(1)
    for leak in dict.fromkeys(leaks):
        yield f"{leak} holds values of tensors that do not travel"


@rule("shares what it says", "bytes and privacy can be read from the plan")
def shares(case: ToyFederation) -> Iterator[str]:
    trainer = case.trainer()
    sent: dict[str, Message] = {}
    upload = trainer.method.upload
    _replace(trainer.method, "upload", lambda site: sent.setdefault(f"upload of {site.name}", upload(site)))
    trainer.round(1)
    for name in trainer.sites:
        sent[f"download of {name}"] = trainer.method.download(trainer.server, name)
    for what, message in sent.items():
        for key, layout in (("model", trainer.plan.model), ("buffers", trainer.plan.buffers)):
            if key in message and message.tensor(key).shape[-1] != layout.numel:
                yield f"{key!r} in the {what} has {message.tensor(key).shape[-1]} numbers; the plan has {layout.numel}"


@rule("step is a function of the phase", "a step can be recorded once and replayed")
def phases(case: ToyFederation) -> Iterator[str]:
    """From round 2 on: what a site remembers may take its shape in round 1."""
    seen: dict[tuple[str, str, str], list[str]] = {}
    for site, batch, recorded, changed in _steps(case.trainer()):
        if changed:
            yield f"step changed plain numbers in site.memory: {', '.join(changed)}"
            return
        key = (site.name, str(batch.task), site.phase)
        before = seen.setdefault(key, recorded) if site.round > 1 else recorded
        if before != recorded:
            pairs = zip_longest(before, recorded, fillvalue="nothing")
            one, other = next((one, other) for one, other in pairs if one != other)
            yield f"step does {one} and, later in the same phase {site.phase!r}, {other}"
            return


@rule("does not wait for the host", "a GPU is never idle inside a step")
def no_waiting(case: ToyFederation) -> Iterator[str]:
    done = {operation.partition(" ")[0] for *_, recorded, _ in _steps(case.trainer(rounds=2)) for operation in recorded}
    for operation in sorted(done & WAITING):
        yield f"its step uses {operation} (.item(), float(tensor), a boolean mask, `if tensor`); keep numbers on the device"


WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "equal"}


class _Recorder(TorchDispatchMode):
    """Notes every operation with its constants and the shapes of its tensors: all that a CUDA graph would freeze."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = tree_map(lambda x: tuple(x.shape) if isinstance(x, Tensor) else x, (args, kwargs or {}))
        frozen = [x for x in tree_leaves(given) if not isinstance(x, torch.Generator)]
        self.done.append(f"{func.overloadpacket.__name__} {frozen}")
        return func(*args, **(kwargs or {}))


def _steps(trainer: Trainer) -> Iterator[tuple[SiteState, Batch, list[str], list[str]]]:
    """Train; site, batch, recorded operations and players, and the plain numbers in memory that were changed, of every step."""
    original, found = trainer.method.step, list[tuple[SiteState, Batch, list[str], list[str]]]()

    def watched(site: SiteState, batch: Batch) -> Iterator[Any]:
        before = {key: value for key, value in site.memory.items() if not isinstance(value, Tensor)}
        pairs, recorder = original(site, batch), _Recorder()
        while True:
            with recorder:
                pair = next(pairs, None)
            if pair is None:
                break
            recorder.done.append(f"a yield of {pair[0]}")
            yield pair
        after = {key: value for key, value in site.memory.items() if not isinstance(value, Tensor)}
        changed = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
        found.append((copy(site), batch, recorder.done, changed))

    _replace(trainer.method, "step", watched)
    for round in range(1, trainer.options.rounds + 1):
        trainer.round(round)
        yield from found
        found.clear()


@rule("remembers in fixed shapes", "a replayed step finds its memory where it was")
def shapes(case: ToyFederation) -> Iterator[str]:
    trainer = case.trainer()
    trainer.round(1)
    trainer.round(2)
    before = {
        (s.name, k): v.shape for s in trainer.sites.values() for k, v in s.memory.items() if isinstance(v, Tensor)
    }
    trainer.round(3)
    after = {(s.name, k): v.shape for s in trainer.sites.values() for k, v in s.memory.items() if isinstance(v, Tensor)}
    if before != after:
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        yield f"the shapes in site.memory change after round 2: {sorted(changed)}"


@rule("works with sites missing", "a round with some of the sites is a round")
def participation(case: ToyFederation) -> Iterator[str]:
    outcome = case.trainer(participation=0.5).run()
    if not all(np.isfinite(row["psnr"]) for row in outcome.scores):
        yield "with half of the sites in a round a score is not finite"


@rule("works with one site", "a federation may be small")
def alone(case: ToyFederation) -> Iterator[str]:
    outcome = case.trainer("a").run()
    if not all(np.isfinite(row["psnr"]) for row in outcome.scores):
        yield "with one site a score is not finite"


@rule("works with very few slices", "a site may be small")
def scarce(case: ToyFederation) -> Iterator[str]:
    outcome = case.trainer(federation(scarce="b")).run()
    if not all(np.isfinite(row["psnr"]) for row in outcome.scores):
        yield "with one training slice at a site a score is not finite"


@rule("serves a newcomer", "a hospital that never trained can join")
def newcomer(case: ToyFederation) -> Iterator[str]:
    data = federation()
    trainer = case.trainer(replace(data, conditions=replace(data.conditions, adapt=[1])))
    trainer.run()
    before = trainer.digests()
    rows = [row for row in trainer.probe() if row["site"] == NEWCOMER]
    if not all(np.isfinite(row["psnr"]) for row in rows):
        yield "what it is served, at once or after it adapted, has a score that is not finite"
    if trainer.digests() != before:
        yield "welcoming it changed the server or another site"


@rule("takes several sources", "a target may be made of all that a site has; a method may refuse, naming such a task")
def several(case: ToyFederation) -> Iterator[str]:
    tasks = {"a": (Task.parse("T1+T2->PD"),), "c": (Task.parse("T1->PD"), Task.parse("PD->T2"))}
    try:
        outcome = case.trainer(replace(federation("ac"), tasks=tasks, newcomers={}), rounds=1).run()
    except ContractError as refusal:
        if "T1+T2->PD" not in str(refusal):
            raise
    else:
        if not all(np.isfinite(row["psnr"]) for row in outcome.scores):
            yield "with a task of two sources a score is not finite"


@rule("fits any image", "slices need not be square")
def images(case: ToyFederation) -> Iterator[str]:
    for size in ((32, 48), (64, 32)):
        try:
            case.trainer(federation("ac", size), rounds=1, local_steps=1).run()
        except Exception as error:
            yield f"slices of {size[0]}x{size[1]}: {type(error).__name__}: {error}"


@rule("fits other networks", "method and network are two axes")
def networks(case: ToyFederation) -> Iterator[str]:
    for name, entry in NETWORKS.entries().items():
        try:
            replace(case, network=small(entry.cls, case.method.needs_norm)).trainer("ac", rounds=1, local_steps=1).run()
        except ContractError as refusal:
            if f"network={case.method.published}" not in str(refusal):  # a refusal that names the remedy is an answer
                raise
        except Exception as error:
            yield f"network={name}: {type(error).__name__}: {error}"


def _replace(method: Method, hook: str, function: Callable[..., Any]) -> None:
    """Put a watching function in the place of one method's hook."""
    setattr(method, hook, function)


def _last(outcome: Outcome) -> Outcome:
    """Without the scores of the selected round: which it is may depend on how often there was a choice."""
    return replace(outcome, scores=[row for row in outcome.scores if row["selection"] == "last"])


def _differences(one: Outcome, other: Outcome, what: str) -> Iterator[str]:
    if names := sorted(name for name in other.digest if one.digest.get(name) != other.digest[name]):
        yield f"{what} ends with other tensors at {', '.join(names)}"
    elif one.scores != other.scores:
        yield f"{what} ends with the same tensors and other scores"
