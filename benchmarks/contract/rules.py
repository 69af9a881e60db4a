"""The rules of a method's contract: each is a function that says what is wrong with a method, and has a purpose."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np

from fedsynth.evaluation.evaluate import mean_psnr
from fedsynth.exchange import ContractError
from fedsynth.federation import Task
from fedsynth.registry import NETWORKS
from fedsynth.trainer import Trainer

from .toy import NEWCOMER, ToyFederation, blobs, small

Rule = Callable[[ToyFederation], Iterator[str]]
RULES: list[tuple[str, str, Rule]] = []


def rule(name: str, purpose: str) -> Callable[[Rule], Rule]:
    """Register a rule, a generator of what is wrong with a method on a toy federation; `purpose` completes "so that ..."."""

    def add(function: Rule) -> Rule:
        RULES.append((name, purpose, function))
        return function

    return add


def _finite(rows: Iterable[dict[str, Any]]) -> bool:
    return all(np.isfinite(row["psnr"]) for row in rows)


@rule("trains", "a run of it ends with scores")
def trains(toy: ToyFederation) -> Iterator[str]:
    rows = toy.observed.outcome.curve
    if bad := [row for row in rows if not np.isfinite(row["loss_generator"])]:
        yield f"the generator's loss is {bad[0]['loss_generator']} at site {bad[0]['site']} in round {bad[0]['round']}"


@rule("learns", "its scores mean something")
def learns(toy: ToyFederation) -> Iterator[str]:
    """After a short training; after a longer one if that is not enough, as for a slow method."""
    for steps, lr in ((6, 1e-2), (20, 3e-3)):
        trainer = toy.trainer("bc", rounds=3, local_steps=steps, lr=lr)
        before = _psnr(trainer, "train")
        for round in (1, 2):
            trainer.round(round)
        if (after := _psnr(trainer, "train")) > before:
            return
    yield f"40 local steps lead from {before:.2f} dB to {after:.2f} dB on the training slices"


def _psnr(trainer: Trainer, split: str) -> float:
    return mean_psnr(trainer.score(split))


@rule("leaves the loop to the trainer", "mixed precision, clipping and captured steps hold for every method")
def leaves_the_loop(toy: ToyFederation) -> Iterator[str]:
    source = inspect.getsource(type(toy.method))
    for call in (r"\.backward\(", r"(?<!super\(\))\.step\(\)", r"\.zero_grad\("):
        if found := re.search(call, source):
            yield f"its source holds {found.group()!r}; yield the loss instead"


@rule("draws from streams of its own", "what else a process does changes no number")
def draws_from_its_own_streams(toy: ToyFederation) -> Iterator[str]:
    for name in toy.observed.drawn:
        yield f"a run draws from the global stream of {name}; use fedsynth.streams, site.draw or a Noisy module"


@rule("resumes exactly", "a killed run ends as an uninterrupted one would")
def resumes(toy: ToyFederation) -> Iterator[str]:
    yield from toy.differences["resumed"]


@rule("may be offloaded", "any number of sites fits on a device: they take turns in its memory")
def may_be_offloaded(toy: ToyFederation) -> Iterator[str]:
    yield from toy.differences["offloaded"]


@rule("is not touched by scoring", "how often a run is validated changes nothing")
def is_not_touched_by_scoring(toy: ToyFederation) -> Iterator[str]:
    yield from toy.differences["validated"]


@rule("does not see the order of sites", "listing sites otherwise changes no number")
def does_not_see_the_order(toy: ToyFederation) -> Iterator[str]:
    yield from toy.differences["reordered"]


@rule("keeps local what is local", "nothing that must stay at a site is ever uploaded")
def keeps_local(toy: ToyFederation) -> Iterator[str]:
    for leak in dict.fromkeys(toy.observed.leaks):
        yield f"{leak} holds values of tensors that do not travel"


@rule("shares what it says", "bytes and privacy can be read from the plan")
def shares_what_it_says(toy: ToyFederation) -> Iterator[str]:
    plan = toy.observed.trainer.plan
    for what, message in dict(toy.observed.messages).items():
        for key, layout in (("model", plan.model), ("buffers", plan.buffers)):
            if key in message and message.tensor(key).shape[-1] != layout.numel:
                yield f"{key!r} in the {what} has {message.tensor(key).shape[-1]} numbers; the plan has {layout.numel}"


@rule("step is a function of the phase", "a step can be recorded once and replayed")
def step_is_a_function_of_the_phase(toy: ToyFederation) -> Iterator[str]:
    """From round 2 on: what a site remembers may take its shape in round 1."""
    seen: dict[tuple[str, str, str], list[str]] = {}
    for step in toy.observed.steps:
        if step.renumbered:
            yield f"step changed plain numbers in site.memory: {', '.join(step.renumbered)}"
            return
        if step.round == 1:
            continue
        before = seen.setdefault((step.site, step.task, step.phase), step.operations)
        if before != step.operations:
            pairs = zip_longest(before, step.operations, fillvalue="nothing")
            one, other = next((one, other) for one, other in pairs if one != other)
            yield f"step does {one} and, later in the same phase {step.phase!r}, {other}"
            return


WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "equal"}


@rule("does not wait for the host", "a GPU is never idle inside a step")
def does_not_wait(toy: ToyFederation) -> Iterator[str]:
    done = {operation.partition(" ")[0] for step in toy.observed.steps for operation in step.operations}
    for operation in sorted(done & WAITING):
        yield f"its step uses {operation} (.item(), float(tensor), a boolean mask, `if tensor`); keep numbers on the device"


@rule("remembers in fixed shapes", "a replayed step finds its memory where it was")
def remembers_in_fixed_shapes(toy: ToyFederation) -> Iterator[str]:
    before, after = toy.observed.shapes[2], toy.observed.shapes[3]
    if changed := sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key)):
        yield f"the shapes in site.memory change after round 2: {changed}"


@rule("works with sites missing", "a round with some of the sites is a round")
def works_with_sites_missing(toy: ToyFederation) -> Iterator[str]:
    if not _finite(toy.trainer(participation=0.5, local_steps=1).run().scores):
        yield "with half of the sites in a round a score is not finite"


@rule("works with one site", "a federation may be small")
def works_with_one_site(toy: ToyFederation) -> Iterator[str]:
    if not _finite(toy.trainer("a", rounds=2).run().scores):
        yield "with one site a score is not finite"


@rule("works with very few slices", "a site may be small")
def works_with_few_slices(toy: ToyFederation) -> Iterator[str]:
    if not _finite(toy.trainer(blobs("ab", scarce="b"), rounds=2).run().scores):
        yield "with one training slice at a site a score is not finite"


@rule("serves a newcomer", "a hospital that never trained can join")
def serves_a_newcomer(toy: ToyFederation) -> Iterator[str]:
    observed = toy.observed
    if not _finite(row for row in observed.outcome.scores if row["site"] == NEWCOMER):
        yield "what it is served, at once or after it adapted, has a score that is not finite"
    if observed.trainer.digests() != observed.outcome.digest:
        yield "welcoming it changed the server or another site"


@rule("takes several sources", "a target may be made of all that a site has; a method may refuse, naming such a task")
def takes_several_sources(toy: ToyFederation) -> Iterator[str]:
    tasks = {"a": (Task.parse("T1+T2->PD"),), "c": (Task.parse("T1->PD"), Task.parse("PD->T2"))}
    try:
        outcome = toy.trainer(replace(blobs("ac"), tasks=tasks, newcomers={}), rounds=1).run()
    except ContractError as refusal:
        if "T1+T2->PD" not in str(refusal):
            raise
    else:
        if not _finite(outcome.scores):
            yield "with a task of two sources a score is not finite"


@rule("fits any image", "slices need not be square")
def fits_any_image(toy: ToyFederation) -> Iterator[str]:
    size = (24, 32)  # no side is that of the other rules' slices
    try:
        toy.trainer(blobs("bc", size), rounds=1, local_steps=1).run()
    except Exception as error:
        yield f"slices of {size[0]}x{size[1]}: {type(error).__name__}: {error}"


@rule("fits other networks", "method and network are two axes")
def fits_other_networks(toy: ToyFederation) -> Iterator[str]:
    for name, entry in NETWORKS.entries().items():
        if name == toy.method.default_network():
            continue  # all other rules are tried on it
        try:
            trainer = replace(toy, network=small(entry.cls, toy.method.needs_norm)).trainer("bc", local_steps=1)
            trainer.round(1)
            _psnr(trainer, "val")
            trainer.probe()
        except ContractError as refusal:
            if f"network={toy.method.default_network()}" not in str(
                refusal
            ):  # a refusal that names the remedy is an answer
                raise
        except Exception as error:
            yield f"network={name}: {type(error).__name__}: {error}"
