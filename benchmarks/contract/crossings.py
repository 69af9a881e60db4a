"""The rules of a method's contract that cross it with what a run may meet: stragglers, failures, own starts, server rules.

Each condition is tried in a run that nothing stops, and in one that is killed in its second round and again before it is scored:
both must end alike. What makes no sense together is refused by name before anything trains, and counts as refused.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fedsynth.evaluation import evaluate
from fedsynth.exchange import ContractError, Message, Place
from fedsynth.federation import Federation
from fedsynth.feed import Batch
from fedsynth.method import Method
from fedsynth.runtime.options import ServerRule
from fedsynth.server.uploads import Uploads
from fedsynth.site import SiteState
from fedsynth.trainer import Outcome, Trainer
from fedsynth.trainer.server_party import ServerParty

from .rules import Rule
from .toy import NEWCOMER, ToyFederation, blobs

ROUNDS = 2
SLACK = 1e-4  # of single numbers, for rounding


class RunCondition(NamedTuple):
    """What a run may meet: of the scenario, and of the trainer's options."""

    scenario: Mapping[str, Any]
    trainer: Mapping[str, Any] = {}


CONDITIONS = {
    "stragglers": RunCondition({"straggle": 0.99}, {"local_steps": 3}),
    "failures": RunCondition({"fail": 0.5}),
    "lost uploads": RunCondition({"lose": 0.5}),
    "sites that join late": RunCondition({"joins": {"b": 0.5}}),
    "a poisoned site": RunCondition({"poisoned": 0.34}),
    "some of the sites": RunCondition({}, {"participation": 0.5}),
    "own starts": RunCondition(
        {"joins": {"b": 0.5}}, {"common_start": False}
    ),  # and a site that then starts from the server's
    "the median": RunCondition({"poisoned": 0.34}, {"server_rule": ServerRule.median}),  # which is there for such sites
    "the trimmed mean": RunCondition({}, {"server_rule": ServerRule.trimmed_mean, "corrupt": 0.34}),
    "Krum": RunCondition({}, {"server_rule": ServerRule.krum}),
    "norm clipping": RunCondition({}, {"server_rule": ServerRule.norm_clip}),
}


class Refused(Exception):
    """What was asked makes no sense together, and was refused by name before anything trained."""


def trainer_of(
    toy: ToyFederation, condition: RunCondition, data: Federation | None = None, folder: Path | None = None
) -> Trainer:
    """A trainer under a condition, with a newcomer that adapts; unless other data are given, sites have one training slice.

    Raises:
        Refused: The trainer refuses the method or the condition.
    """
    of = data or blobs(scarce="abc" + NEWCOMER)
    conditions = replace(of.conditions, adapt=[1], **condition.scenario)
    given = {"rounds": ROUNDS, "checkpoint_every": 1, "validate_every": ROUNDS, **condition.trainer}
    try:
        return toy.trainer(replace(of, conditions=conditions), folder, **given)
    except (ContractError, ValueError) as refusal:
        named = [f"trainer.{option}" for option in given] + [f"scenario.{option}" for option in condition.scenario]
        if any(name in str(refusal) for name in named):
            raise Refused(str(refusal)) from refusal
        raise


def killed_in_round_2(trainer: Trainer, folder: Path) -> Outcome:
    """Run to the end, and leave in a folder what a process would that was killed after the second round's first site."""

    def copied(round: int, rounds: int, site: str, loss: float) -> None:
        if round > 1 and not folder.exists():
            shutil.copytree(trainer.folder, folder)

    trainer.progress = copied
    return trainer.run()


def crossed(condition: str, toy: ToyFederation) -> Iterator[str]:
    """What is wrong under a condition."""
    with tempfile.TemporaryDirectory() as name:
        made, folder = partial(trainer_of, toy, CONDITIONS[condition]), Path(name, "killed in round 2")
        whole = killed_in_round_2(made(), folder)
        made(folder=folder).train()  # to the end of the last round, and not scored
        again = made(folder=folder).run()
    if "not finite" in whole.reason:
        yield f"with {condition} {whole.reason}"
    if names := sorted(site for site in whole.digest if again.digest.get(site) != whole.digest[site]):
        yield f"with {condition}, a run that was killed ends with other tensors at {', '.join(names)}"
    elif rows_of(again) != rows_of(whole):
        yield f"with {condition}, a run that was killed ends with the same tensors and other scores"


def rows_of(outcome: Outcome) -> list[str]:
    return [repr(row) for row in outcome.scores]  # NaN is equal to itself


def sees_what_sites_learnt(toy: ToyFederation) -> Iterator[str]:
    """Sites that start apart and learn nothing leave the server's model at the mean of their starts."""
    condition = RunCondition({"straggle": 0.9}, {"common_start": False, "lr": 1e-9, "local_steps": 6})
    trainer = trainer_of(toy, condition, blobs(scarce="b"))
    uploads = Uploads(trainer.folder / "uploads", trainer.options, trainer.device)
    trainer.train_sites(1, uploads)
    before = trainer.server.model.clone()
    aggregate(trainer, uploads)
    moved = float((trainer.server.model - before).abs().max()) if len(before) else 0.0
    if moved > SLACK:
        yield f"its server moves a weight by {moved:.1g}, although no site learnt anything"


def averages_what_it_says(toy: ToyFederation) -> Iterator[str]:
    """Adds 1 to every mean that the server takes of models: what a method sends must then be another."""
    ordinary = trainer_of(toy, RunCondition({}))
    if not ordinary.plan.model.numel:
        return
    if not toy.method.averages:
        for rule in (rule for rule in ServerRule if rule is not ServerRule.mean):
            try:
                trainer_of(
                    toy,
                    RunCondition(
                        {}, {"server_rule": rule, "corrupt": 0.34 if rule is ServerRule.trimmed_mean else 0.0}
                    ),
                )
            except Refused:
                continue
            yield f"it does not average, and trainer.server_rule={rule.name} is not refused"
        return
    moved = trainer_of(toy, RunCondition({}))
    mean = moved.server.mean

    def more(uploads: Mapping[str, Message], key: str, weights: Mapping[str, float] | None = None) -> Tensor:
        return mean(uploads, key, weights) + (key == "model")

    vars(moved.server)["mean"] = more
    for trainer in (ordinary, moved):
        trainer.round(1)
    for name in ordinary.server.names:
        models = [trainer.method.download(trainer.server, name).model for trainer in (ordinary, moved)]

        def held(place: Place, name: str = name) -> bool:
            return place.path in ordinary.server.held[name]

        here = ordinary.plan.model.where(held, ordinary.device)
        other = (models[0] - models[1]).abs()[..., here] > 1e-6
        if other.double().mean(-1).max() < 0.9:
            yield (
                f"what it sends to site {name} is not made of `server.mean`, so that a robust trainer.server_rule would do "
                "nothing: set `averages = False`"
            )
            return


def differs_by_more_than_weights(toy: ToyFederation) -> Iterator[str]:
    """Two rounds under the median, and under the mean if the server's model is then FedAvg's. FedAvg weighs sites equally if the
    method says that it does."""
    plain = replace(toy, method=Method(toy.method.adversarial, toy.method.l1))
    vars(plain.method)["equal_weights"] = toy.method.equal_weights
    if not toy.method.averages or toy.method.weighs:
        return
    for rule in (ServerRule.median, ServerRule.mean):
        models = []
        for of in (toy, plain):
            trainer = trainer_of(of, RunCondition({}, {"server_rule": rule}), blobs(scarce="b"))
            if not trainer.plan.model.numel:
                return
            for round in range(1, ROUNDS + 1):
                uploads = Uploads(trainer.folder / "uploads", trainer.options, trainer.device)
                trainer.train_sites(round, uploads)
                aggregate(trainer, uploads)
            models.append(trainer.server.model)
        alike = torch.equal(*models)
        if alike is (rule is ServerRule.mean):
            return
    yield (
        "under trainer.server_rule=median its server has FedAvg's model to the last bit, and under mean it has not: set "
        "`weighs = True`"
    )


def gives_newcomers_equal_budgets(toy: ToyFederation) -> Iterator[str]:
    """Local steps, and gradients beside them, until a newcomer serves."""
    trainer = trainer_of(toy, RunCondition({}))
    trainer.round(1)
    step, run = trainer.step, trainer.step.run
    taken, inside, since = 0, 0, 0

    def counted(*given: Any) -> None:
        nonlocal taken, inside
        before, (_, _, optimizers, *_) = step.backwards, given
        run(*given)
        if optimizers is not None:  # else it only counts operations
            taken, inside = taken + 1, inside + step.backwards - before

    def total() -> int:
        return taken + step.backwards - inside

    receive, synthesise = trainer.method.receive, trainer.method.synthesise
    found: dict[bool, int] = {}

    def received(site: SiteState, message: Message) -> None:
        nonlocal since
        since = total()
        receive(site, message)

    def synthesised(site: SiteState, batch: Batch) -> Tensor:
        if site.name == NEWCOMER:
            found[site.trained] = total() - since
        return synthesise(site, batch)

    vars(step)["run"] = counted
    vars(trainer.method).update(receive=received, synthesise=synthesised)
    trainer.probe()
    steps = trainer.federation.conditions.adapt_steps
    if found.get(False):
        yield f"a newcomer that is only welcomed has {found[False]} steps or gradients before it serves, and not 0"
    if found[True] != steps:
        yield f"a newcomer that adapts has {found[True]} steps or gradients before it serves, and not {steps}"


def serves_what_it_learnt(toy: ToyFederation) -> Iterator[str]:
    """One site trains in two runs; its upload arrives in one and is lost in the other. From one server, which has aggregated two
    rounds, it serves the same."""
    there, lost = (trainer_of(toy, RunCondition({"lose": share})) for share in (0.0, 0.99))
    rounds = range(1, ROUNDS + 1)
    name = min(set(lost.sites).difference(*map(lost.participants.arrivals, rounds)), default="")
    if not name:
        return
    lost.server_party.server = there.server
    for round in rounds:
        for trainer in (lost, there):
            uploads = Uploads(trainer.folder / "uploads", trainer.options, trainer.device)
            trainer.train_sites(round, uploads)
        aggregate(there, uploads)
    images = [served(trainer, there.server_party, name) for trainer in (there, lost)]
    if not torch.equal(*images):
        yield (
            "a site whose upload was lost serves other images than if it had arrived; `upload` is not called then, so keep "
            "there only what is about the upload"
        )


def aggregate(trainer: Trainer, uploads: Uploads) -> None:
    """The server's part of a round."""
    trainer.method.aggregate(trainer.server, uploads)
    uploads.clear()
    trainer.server.settle()


def served(trainer: Trainer, server: ServerParty, name: str) -> Tensor:
    """What a site of a trainer makes of some of its slices with what a server sends it."""
    site = trainer.sites[name]
    feed = site.feeds[site.members[0]]
    with evaluate.serving(trainer.method, server.download(name), site), torch.no_grad():
        return site.answer(feed.batch(feed.tasks[0], feed.rows["test"]))


def makes_each_image_alone(toy: ToyFederation) -> Iterator[str]:
    """Slices in one batch, and each in a batch of its own."""
    trainer = trainer_of(toy, RunCondition({}))
    trainer.round(1)
    site = next(iter(trainer.sites.values()))
    feed = site.feeds[site.members[0]]
    rows = feed.rows["test"]
    with evaluate.serving(trainer.method, trainer.server_party.download(site.name), site), torch.no_grad():
        together = site.answer(feed.batch(feed.tasks[0], rows))
        alone = torch.cat([site.answer(feed.batch(feed.tasks[0], rows[k : k + 1])) for k in range(len(rows))])
    if (gap := float((together - alone).abs().max())) > SLACK:
        yield (
            f"the image of a slice differs by {gap:.2g} with the slices that share its batch; draw noise for it from a Noisy "
            "module or from site.slot.noise, of which every slice has its own"
        )


CROSSINGS: list[tuple[str, str, Rule]] = [
    *(
        (
            f"holds with {name}",
            "its row in such a scenario means what it says, also after a crash",
            partial(crossed, name),
        )
        for name in CONDITIONS
    ),
    ("sees only what sites learnt", "what a server remembers holds where sites start apart", sees_what_sites_learnt),
    ("averages what it says", "a robust server rule is never without effect", averages_what_it_says),
    ("differs by more than weights", "a robust server rule does not make it FedAvg", differs_by_more_than_weights),
    ("gives newcomers equal budgets", "what newcomers are served compares", gives_newcomers_equal_budgets),
    ("serves what it learnt", "a lost upload costs the server alone", serves_what_it_learnt),
    ("makes each image alone", "a score does not depend on how slices were put together", makes_each_image_alone),
]
