"""Every method passes the conformance suite; a method that breaks a rule is caught by that rule."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from fedsynth import streams
from fedsynth.benchmarks.contract import check
from fedsynth.benchmarks.contract.crossings import CONDITIONS, CROSSINGS, trainer_of
from fedsynth.benchmarks.contract.rules import RULES, Rule, step_is_a_function_of_the_phase
from fedsynth.benchmarks.contract.toy import CHANGES, ToyFederation
from fedsynth.exchange import Message, Place
from fedsynth.feed import Batch
from fedsynth.method import Blueprint, Method
from fedsynth.registry import METHODS, RegistryError
from fedsynth.runtime.options import ServerRule
from fedsynth.server import Server
from fedsynth.site import SiteState
from fedsynth.step import Pairs
from fedsynth.trainer import Outcome

CROSSED = ("fedavg", "feddyn", "finetune", "ifca", "pflsynth")  # under every condition; the others by `make test-long`


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS.entries())
def test_registered_methods_conform(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsynth.methods.fedala.MOST_PASSES", 1)  # of learning its weights; 30 otherwise
    assert {title: wrong for title, _, wrong, _ in check.check(name, RULES) if wrong} == {}


REFUSED = ({"the median", "the trimmed mean", "Krum"}, {"norm clipping"}, {"own starts"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name not in CROSSED)) for name in METHODS.entries()]
)
def test_registered_methods_hold_under_every_condition(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is refused for all of its kind."""
    monkeypatch.setattr("fedsynth.methods.fedala.MOST_PASSES", 1)
    verdicts = check.check(name, CROSSINGS)
    assert {verdict.title: verdict.wrong for verdict in verdicts if verdict.wrong} == {}
    refused = {verdict.title.removeprefix("holds with ") for verdict in verdicts if verdict.refusal} & set(CONDITIONS)
    assert refused == set().union(*(kind for kind in REFUSED if kind & refused))


def test_own_starts_meet_a_site_that_joins_late_and_the_median_a_poisoned_one() -> None:
    toy = ToyFederation.of(Method)
    late, poisoned = (trainer_of(toy, CONDITIONS[name]) for name in ("own starts", "the median"))
    assert not late.options.common_start
    assert [late.participants(round) for round in (1, 2)] == [["a", "c"], ["a", "b", "c"]]
    assert poisoned.federation.poisoned == {"c"}
    assert poisoned.options.server_rule is ServerRule.median


@dataclass
class Remembers(Method):
    """Counts its steps on itself, and the later ones weigh more."""

    count: int = 0

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        self.count += 1
        for player, loss in super().step(site, batch):
            yield player, loss * self.count


@dataclass
class Forgets(Method):
    """Counts its rounds where no checkpoint looks, and the later ones weigh more."""

    def receive(self, site: SiteState, message: Message) -> None:
        super().receive(site, message)
        if site.at_work:  # and is not scored
            vars(site)["begun"] = vars(site).get("begun", 0) + 1

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            yield player, loss * vars(site).get("begun", 1)


class Strength(nn.Module):
    """A number from a vector, by a linear layer that sees no batch and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.vector, self.linear = nn.Parameter(torch.randn(37)), nn.Linear(37, 8)

    def forward(self) -> torch.Tensor:
        strength: torch.Tensor = (1 + self.linear(self.vector) / 9).prod()
        return strength


@dataclass
class LearnsItsStrength(Method):
    """A method that is right, with operations that torch does or rounds otherwise while its own counter (FlopCounterMode) or any
    other looks on: a linear layer on a vector, and the gradient of a product."""

    def build(self, blueprint: Blueprint) -> nn.ModuleDict:
        with blueprint.weights("strength"):
            return nn.ModuleDict({**super().build(blueprint), "strength": Strength()})

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            if player == "generator":
                yield (player, "strength"), loss * (1 + site.nets["strength"]().square())
            else:
                yield player, loss


def test_what_torch_does_otherwise_while_it_is_watched_breaks_no_rule() -> None:
    toy = ToyFederation.of(LearnsItsStrength)
    assert toy.differences == {change: [] for change in CHANGES}
    assert not list(step_is_a_function_of_the_phase(toy))


def test_an_error_that_ends_every_run_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "METHODS", {"remembers": Remembers})
    chosen = [entry for entry in RULES if entry[0] in ("trains", "resumes exactly", "works with one site")]
    first, *others = check.check("remembers", chosen)
    assert "method Remembers: its attributes changed in round 1: count" in first.wrong[0]
    assert [verdict.wrong for verdict in others] == [["the error of 'trains' ends its run too"]] * 2


@dataclass
class Leaks(Method):
    """Sends its discriminators along, although they do not travel."""

    def upload(self, site: SiteState) -> Message:
        secret = torch.cat([p.detach().flatten() for p in site.nets["discriminators"].parameters()])
        return Message(super().upload(site), secret=secret)


@dataclass
class LooksAtTheClock(Method):
    """Trains the generator alone from round 3 on, without saying so by a phase."""

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            if site.round < 3 or player == "generator":
                yield player, loss


@dataclass
class DrawsFromTheGlobalStream(Method):
    """Its steps add noise from torch's global stream."""

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            yield player, loss * (1 + torch.rand(()))


@dataclass
class TrainsByItself(Method):
    """Moves weights with its own hands."""

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            loss.backward(retain_graph=True)
            yield player, loss


@dataclass
class Waits(Method):
    """Reads its loss on the host."""

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            yield player, loss / max(1.0, float(loss))


@dataclass
class Grows(Method):
    """Remembers every model that it received."""

    def receive(self, site: SiteState, message: Message) -> None:
        held = site.memory.get("seen", message.model[None])
        site.memory["seen"] = torch.cat([held, message.model[None]])
        super().receive(site, message)


@dataclass
class Explodes(Method):
    """Its loss overflows."""

    def objective(self, nets: Any, batch: Batch) -> Pairs:
        for player, loss in super().objective(nets, batch):
            yield player, loss * float("inf")


@dataclass
class SplitsBySize(Method):
    """Shares nothing of a generator although it says that it shares a part."""

    partial = True

    def travels(self, place: Place) -> bool:
        return False


@dataclass
class CountsDownloads(Method):
    """Its server counts what it sends, which validation asks for too."""

    def download(self, server: Server, name: str) -> Message:
        server.memory["sent"] = torch.as_tensor(server.memory.get("sent", 0)) + 1
        return super().download(server, name)


@dataclass
class MarksItsNets(Method):
    """Leaves a mark on the modules, which the sites that share a slot find there."""

    def receive(self, site: SiteState, message: Message) -> None:
        super().receive(site, message)
        if site.round == 1:
            mark = getattr(site.nets, "mark", "") or site.name
            site.nets.mark = mark
            site.memory["mark"] = torch.tensor(float(ord(mark)))


@dataclass
class SendsTooMuch(Method):
    """Its uploads have a number more than the plan."""

    def upload(self, site: SiteState) -> Message:
        message = super().upload(site)
        return Message(message, model=torch.cat([message.model, torch.zeros(1)]))

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        server.model = server.mean(uploads, "model")[:-1]


@pytest.mark.parametrize(
    ("cls", "title"),
    [
        (Remembers, "trains"),
        (Leaks, "keeps local what is local"),
        (LooksAtTheClock, "step is a function of the phase"),
        (TrainsByItself, "leaves the loop to the trainer"),
        (Waits, "does not wait for the host"),
        (Grows, "remembers in fixed shapes"),
        (DrawsFromTheGlobalStream, "draws from streams of its own"),
        (Explodes, "trains"),
        (SendsTooMuch, "shares what it says"),
        (SplitsBySize, "fits other networks"),
    ],
)
def test_a_broken_rule_is_named(cls: type[Method], title: str) -> None:
    toy = ToyFederation.of(cls)
    function = next(function for name, _, function in RULES if name == title)
    assert complaints(function, toy)


def complaints(function: Rule, toy: ToyFederation) -> list[str]:
    def run() -> Iterator[str]:
        try:
            yield from function(toy)
        except Exception as error:  # as `check` does
            yield str(error)

    return list(run())


# --- what methods did before their crossings were tried ----------------------------------------------------------------


@dataclass
class TunesByItsLastRound(Method):
    """Fine-tunes as long as it trained last, of which a resumed run knows nothing."""

    def upload(self, site: SiteState) -> Message:
        site.last = site.steps
        return super().upload(site)

    def personalise(self, site: SiteState) -> None:
        site.fit(getattr(site, "last", site.full))


@dataclass
class AddsUpDifferences(Method):
    """FedDyn's state and FedAvgM's momentum, of a mean with other weights than its own."""

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        before = server.model
        super().aggregate(server, {name: Message(upload, weight=1) for name, upload in uploads.items()})
        server.memory["h"] = server.memory.get("h", 0) + server.model - before
        server.model = server.model + server.memory.tensor("h")


@dataclass
class NormalisesFromTheServer(Method):
    """FedNova that takes the server's model for what every site began with."""

    def upload(self, site: SiteState) -> Message:
        return Message(super().upload(site), steps=site.steps)

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        moved = {
            name: Message(upload, model=server.model.lerp(upload.model, 1 / float(upload["steps"])))
            for name, upload in uploads.items()
        }
        super().aggregate(server, moved)


@dataclass
class SendsWhatOthersSent(Method):
    """Its sites get each other's models, and no mean."""

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        super().aggregate(server, uploads)
        for name, upload in uploads.items():
            server.memory[f"model of {name}"] = upload.model

    def download(self, server: Server, name: str) -> Message:
        other = next((key for key in sorted(server.memory) if not key.endswith(name)), "")
        return Message(super().download(server, name), model=server.memory.get(other, server.model))


@dataclass
class TunesBesideItsBudget(Method):
    """Moves by gradients before it serves, whatever it may do."""

    def personalise(self, site: SiteState) -> None:
        for batch in site.draw("tune", 3):
            slope = site.slope("generator", dict(self.objective(site.nets, batch))["generator"])
            site.load(site.pack() - 1e-4 * slope)


@dataclass
class KeepsItsOwnInUpload(Method):
    """A model of its own that it only keeps if its upload arrives."""

    def upload(self, site: SiteState) -> Message:
        site.memory["own"] = site.pack()
        return super().upload(site)

    def personalise(self, site: SiteState) -> None:
        if "own" in site.memory:
            site.load(site.memory.tensor("own"))


@dataclass
class KeepsItsStartInUpload(Method):
    """Serves between what it began the round with and what it is sent, but only if its upload arrived: FedExP once did so."""

    def upload(self, site: SiteState) -> Message:
        assert site.received is not None
        site.memory["began"] = site.received
        return super().upload(site)

    def personalise(self, site: SiteState) -> None:
        if "began" in site.memory:
            site.load((site.memory.tensor("began") + site.pack()) / 2)


@dataclass
class WeighsByName(Method):
    """The first site by name counts ten times."""

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        first = min(uploads)
        server.model = server.mean(uploads, "model", {name: 10.0 if name == first else 1.0 for name in uploads})


@dataclass
class DrawsByPlace(Method):
    """Adds noise that depends on a slice's place in its batch."""

    def synthesise(self, site: SiteState, batch: Batch) -> torch.Tensor:
        stream = streams.device(site.device, "noise", site.name)
        return super().synthesise(site, batch) + 0.1 * torch.randn(batch.target.shape, generator=stream)


@dataclass
class SendsNaN(Method):
    """One of its numbers is not finite."""

    def upload(self, site: SiteState) -> Message:
        message = super().upload(site)
        message.model[0] = torch.nan
        return message


@dataclass
class SendsPairs(Method):
    """Its uploads have another form than what it is sent."""

    def upload(self, site: SiteState) -> Message:
        message = super().upload(site)
        return Message(message, model=torch.stack([message.model, message.model]))

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        super().aggregate(server, {name: Message(upload, model=upload.model[0]) for name, upload in uploads.items()})


@pytest.mark.parametrize(
    ("cls", "title"),
    [
        (TunesByItsLastRound, "holds with stragglers"),
        (AddsUpDifferences, "sees only what sites learnt"),
        (NormalisesFromTheServer, "sees only what sites learnt"),
        (SendsWhatOthersSent, "averages what it says"),
        (TunesBesideItsBudget, "gives newcomers equal budgets"),
        (KeepsItsOwnInUpload, "serves what it learnt"),
        (KeepsItsStartInUpload, "serves what it learnt"),
        (WeighsByName, "differs by more than weights"),
        (DrawsByPlace, "makes each image alone"),
        (SendsNaN, "holds with the median"),
        (SendsPairs, "holds with a poisoned site"),
    ],
)
def test_what_does_not_hold_under_a_condition_is_named(cls: type[Method], title: str) -> None:
    function = next(function for name, _, function in CROSSINGS if name == title)
    assert complaints(function, ToyFederation.of(cls))


def test_an_unknown_name_is_refused_before_anything_is_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "check", lambda name: [])
    with pytest.raises(RegistryError, match="no method 'fedavgg'; the nearest are fedavg"):
        check.main(["fedavg", "fedavgg"], all=False)
    assert capsys.readouterr().out == ""


def test_what_is_refused_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = [rule for rule in CROSSINGS if rule[0] in ("holds with Krum", "makes each image alone")]
    monkeypatch.setattr(check, "check", partial(check.check, rules=chosen))
    assert check.main(["fedamp"], all=False) == 0
    assert capsys.readouterr().out.splitlines() == [
        "fedamp",
        "  refused holds with Krum: trainer.server_rule=krum does nothing under method FedAMP, whose sites are not sent a mean "
        "of models; set it to mean",
        "  ok      makes each image alone",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "title"),
    [
        (Forgets, "resumes exactly"),
        (MarksItsNets, "may be offloaded"),
        (CountsDownloads, "is not touched by scoring"),
    ],
)
def test_of_the_rules_that_share_a_run_only_the_broken_one_is_named(cls: type[Method], title: str) -> None:
    toy = ToyFederation.of(cls)
    broken = {name for name, _, function in RULES if name in SHARING and complaints(function, toy)}
    assert broken == {title}


SHARING = {"resumes exactly", "may be offloaded", "is not touched by scoring", "does not see the order of sites"}


def test_what_only_happens_together_is_told_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """If all changes at once make a difference, and none of them alone does."""

    def rerun(self: ToyFederation, changes: Collection[str]) -> Outcome:
        found = self.observed.outcome
        return replace(found, digest=found.digest | {"a": "other"}) if len(changes) > 1 else found

    monkeypatch.setattr(ToyFederation, "rerun", rerun)
    told = ToyFederation.of(Method).differences
    assert set(told) == set(CHANGES)
    assert all(lines[0].endswith("in another order ends with other tensors at a") for lines in told.values())
