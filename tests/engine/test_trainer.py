"""The loop: schedule, optimisers, selection, outcomes, accounting, and what normalisation and dropout see of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from support.federations import TASKS, federation, options, resnet, trainer
from torch import Tensor, nn

from fedsynth.evaluation import evaluate
from fedsynth.exchange import ContractError, Place
from fedsynth.federation import Conditions
from fedsynth.feed import Batch, EvaluationBatch, Feed
from fedsynth.method import Method, Nets
from fedsynth.methods.fedbn import FedBN
from fedsynth.methods.local import Local
from fedsynth.networks.blocks import Dropout, Norm
from fedsynth.runtime.optimizers.sgd import SGD
from fedsynth.runtime.options import TrainerOptions
from fedsynth.site import SiteState
from fedsynth.step import Pairs
from fedsynth.trainer import Outcome, Trainer
from fedsynth.trainer.sharing import buffer_policy

SITES = ("ixi", "midas")


# --- schedule and optimisers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rounds", "factors"),
    [
        (1, [1]),
        (2, [1, 1 / 2]),
        (3, [1, 1, 1 / 2]),
        (4, [1, 1, 2 / 3, 1 / 3]),
        (6, [1, 1, 1, 3 / 4, 2 / 4, 1 / 4]),
    ],
)
def test_the_rate_is_constant_then_falls_in_a_line(rounds: int, factors: list[float]) -> None:
    given = TrainerOptions(rounds=rounds)
    assert [given.rate(round) for round in range(1, rounds + 1)] == pytest.approx(factors)


def test_the_published_schedule_never_reaches_zero() -> None:
    given = TrainerOptions()
    rates = [given.rate(round) for round in range(1, 151)]
    assert rates[:75] == [1] * 75
    assert rates[75] == pytest.approx(75 / 76)
    assert rates[149] == pytest.approx(1 / 76)
    assert np.diff(rates[75:]) == pytest.approx(-1 / 76)


@dataclass
class OwnRates(Method):
    """Gives the discriminators a rate of their own, and notes the rates of every step."""

    def players(self, nets: nn.ModuleDict) -> dict[str, Any]:
        return {
            name: parameters if name == "generator" else [{"params": parameters, "lr": 0.5}]
            for name, parameters in super().players(nets).items()
        }

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        groups = [optimizer.param_groups[0] for optimizer in site.optimizers.values()]
        for name, rate in {"site": site.lr, **{str(k): group["lr"] for k, group in enumerate(groups)}}.items():
            site.memory[f"{name} in round {site.round}"] = float(rate)
        yield from super().step(site, batch)


def test_every_optimiser_follows_the_schedule_from_its_own_start() -> None:
    of = trainer(OwnRates(), sites=("ixi",), rounds=4, lr=0.01, local_steps=1)
    for round in range(1, 5):
        of.round(round)
    rates = of.sites["ixi"].memory
    for round, factor in enumerate((1, 1, 2 / 3, 1 / 3), 1):
        found = [rates[f"{name} in round {round}"] for name in ("site", "0", "1", "2")]
        assert found == pytest.approx([0.01 * factor, 0.01 * factor, 0.5 * factor, 0.5 * factor])


def test_optimisers_are_kept_across_rounds() -> None:
    of = trainer(Method(), sites=SITES, rounds=3)
    of.run()
    for site in of.sites.values():
        counts = {entry["step"].item() for entry in site.optimizers["generator"].state.values()}
        assert counts == {9}


def test_moments_never_travel() -> None:
    of = trainer(Method(), sites=SITES)
    of.run()
    one, other = (of.sites[name].optimizers["generator"].state_dict()["state"][0] for name in SITES)
    assert not torch.equal(one["exp_avg"], other["exp_avg"])


# --- selection and outcomes ------------------------------------------------------------------------------------------


@dataclass
class Scripted(Method):
    """Serves the target with an error that depends on the round, and a trace of what the generator says."""

    errors: tuple[float, ...] = ()

    def synthesise(self, site: SiteState, batch: Batch) -> Tensor:
        return batch.target * (1 - self.errors[site.round - 1]) + 0.01 * super().synthesise(site, batch)


def scripted(*errors: float, **given: Any) -> Trainer:
    return trainer(Scripted(errors=errors), sites=SITES, rounds=len(errors), local_steps=1, **given)


def means(outcome: Outcome, selection: str) -> float:
    return evaluate.mean_psnr([row for row in outcome.scores if row["selection"] == selection])


def served(of: Trainer) -> dict[str, dict[str, np.ndarray]]:
    return of.gallery()


def test_validation_picks_one_round_for_all_and_the_last_is_kept_beside_it() -> None:
    outcome = scripted(0.5, 0.05, 0.1).run()
    assert (outcome.status, outcome.selected_round) == ("done", 2)
    curve = [row["val_psnr"] for row in outcome.curve if row["site"] == "ixi"]
    assert curve[0] < curve[2] < curve[1]
    of = scripted(0.5, 0.05, 0.1)
    for round, selection in ((1, ""), (2, "selected"), (3, "last")):
        of.round(round)
        scores = of.score("test")
        own = [row for row in outcome.scores if row["selection"] == selection]
        assert own == ([{"selection": selection} | row for row in scores] if selection else [])
        pictures = {key: p["prediction"].tolist() for key, p in served(of).items()}
        shown = {key: p["prediction"].tolist() for key, p in outcome.gallery.items()}
        assert (pictures == shown) is (selection == "selected")


def test_a_tie_is_the_earlier_rounds() -> None:
    class Perfect(Method):
        def synthesise(self, site: SiteState, batch: Batch) -> Tensor:
            return batch.target

    assert trainer(Perfect(), sites=SITES, rounds=3).run().selected_round == 1


@pytest.mark.parametrize(("every", "rounds", "validated"), [(1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (9, 3, [3])])
def test_the_last_round_is_always_validated(every: int, rounds: int, validated: list[int]) -> None:
    outcome = scripted(*[0.1] * rounds, validate_every=every).run()
    for row in outcome.curve:
        assert math.isfinite(row["val_psnr"]) is math.isfinite(row["val_ssim"]) is (row["round"] in validated)


@pytest.mark.parametrize(("errors", "times"), [((0.2, 0.1), 1), ((0.1, 0.2), 2)])
def test_the_test_set_is_read_once_a_selection(
    errors: tuple[float, ...], times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, score, read = scripted(*errors), Feed.score, Counter[str]()

    def counting(self: Feed, task: Any, split: str) -> Iterator[EvaluationBatch]:
        read[split] += 1
        return score(self, task, split)

    monkeypatch.setattr(Feed, "score", counting)
    of.run()
    assert read["test"] == times * 4  # site-tasks
    assert read["val"] == 2 * 4 + 4  # two rounds, and copying the source


@dataclass
class Fails(Method):
    """A loss that is not finite, at one site in one round."""

    value: str = "nan"  # no option may be a number that is not finite

    def objective(self, nets: Nets, batch: Batch) -> Pairs:
        for player, loss in super().objective(nets, batch):
            yield player, loss * (float(self.value) if batch.site == "midas" else 1)


def mean_image_rows(of: Trainer) -> list[dict[str, Any]]:
    feeds = [feed for site in of.sites.values() for feed in site.feeds.values()]
    return [row for feed in feeds for task in feed.tasks for row in evaluate.mean_image(feed, task, "test")]


def assert_is_mean_image(outcome: Outcome, of: Trainer) -> None:
    assert (outcome.status, outcome.selected_round, outcome.gallery) == ("diverged", 0, {})
    for selection in ("selected", "last"):
        own = [row for row in outcome.scores if row["selection"] == selection]
        assert own == [{"selection": selection} | row for row in mean_image_rows(of)]


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite_is_a_result(value: str) -> None:
    of = trainer(Fails(value=value), sites=SITES, rounds=3)
    outcome = of.run()
    assert_is_mean_image(outcome, of)
    assert outcome.reason.startswith("the loss at site midas is not finite in round 1")
    assert [(row["round"], row["site"]) for row in outcome.curve] == [(1, "ixi"), (1, "midas")]


@dataclass
class ServesNothing(Method):
    def synthesise(self, site: SiteState, batch: Batch) -> Tensor:
        return batch.target * (math.nan if site.name == "midas" else 1)


def test_a_score_that_is_not_finite_is_a_result() -> None:
    of = trainer(ServesNothing(), sites=SITES, rounds=3)
    outcome = of.run()
    assert_is_mean_image(outcome, of)
    assert outcome.reason == "the validation score is not finite in round 1"


@dataclass
class FailsATestSubject(Method):
    """What it serves is finite, but for one slice that only the test split has."""

    def synthesise(self, site: SiteState, batch: Batch) -> Tensor:
        return batch.target * (math.nan if batch.source.shape[0] > 2 and site.name == "midas" else 1)


def test_a_test_score_that_is_not_finite_is_a_result() -> None:
    of = trainer(FailsATestSubject(), sites=SITES, rounds=1)
    outcome = of.run()
    assert_is_mean_image(outcome, of)
    assert outcome.reason == "a test score is not finite: selected midas T1->T2 midas-4"


def test_ending_below_copying_the_source_keeps_scores_and_images_and_is_flagged() -> None:
    of = scripted(0.01, 3.0)  # good in the middle does not count
    outcome = of.run()
    assert (outcome.status, outcome.below_floor, outcome.selected_round) == ("done", True, 1)
    assert set(outcome.gallery) == {f"{site}/{task}" for site in SITES for task in TASKS[site]}
    assert means(outcome, "selected") > 20 > means(outcome, "last")
    assert (outcome.reason, of.state.diverged) == (below(of, SITES), "")
    good = scripted(3.0, 0.01).run()
    assert (good.status, good.reason, good.below_floor) == ("done", "", False)


def below(of: Trainer, sites: Sequence[str]) -> str:
    """What is said of a run that ended below copying the source at these sites."""
    feeds = [of.sites[name].feeds[name] for name in sites]
    floor = evaluate.mean_psnr([row for f in feeds for task in f.tasks for row in evaluate.copy_source(f, task, "val")])
    ended = np.mean([row["val_psnr"] for row in of.state.curve if row["round"] == 2 and row["site"] in sites])
    return f"validation PSNR ends at {ended:.2f} dB, below copying the source ({floor:.2f} dB)"


def test_the_floor_is_that_of_the_sites_that_are_scored() -> None:
    of = scripted(0.01, 3.0)
    vars(of.federation)["poisoned"] = frozenset({"midas"})
    assert of.run().reason == below(of, ["ixi"])


def test_a_run_that_is_stopped_before_it_is_scored_is_still_below_the_floor(tmp_path: Path) -> None:
    scripted(3.0, folder=tmp_path).round(1)
    again = scripted(3.0, folder=tmp_path)
    assert again.run().below_floor
    assert len(again.state.curve) == len(SITES)  # it trained no further


# --- accounting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("adversarial", "each"), [(1.0, 2), (0.0, 1)])
def test_gradient_evaluations_are_backward_passes(adversarial: float, each: int) -> None:
    outcome = trainer(Method(adversarial=adversarial), sites=SITES, rounds=2, local_steps=3).run()
    assert [row["gradient_evaluations"] for row in outcome.curve] == [3 * each] * 4
    assert outcome.costs["gradient_evaluations"] == 12 * each
    assert all(math.isnan(row["loss_discriminator"]) is (not adversarial) for row in outcome.curve)


@dataclass
class Adapts(Method):
    def personalise(self, site: SiteState) -> None:
        site.fit(2)


def test_training_before_serving_is_not_counted_as_training() -> None:
    counts = [trainer(method, sites=SITES).run().costs["gradient_evaluations"] for method in (Adapts(), Method())]
    assert counts[0] == counts[1]


def test_curve_losses_are_means_over_the_rounds_steps() -> None:
    @dataclass
    class Constant(Method):
        def objective(self, nets: Nets, batch: Batch) -> Pairs:
            for player, loss in super().objective(nets, batch):
                yield player, loss * 0 + (3.0 if player == "generator" else 7.0)

    for row in trainer(Constant(), sites=SITES, local_steps=5).run().curve:
        assert (row["loss_generator"], row["loss_discriminator"]) == (3.0, 7.0)


def test_parameters_are_counted_by_what_they_are() -> None:
    of = trainer(FedBN(), sites=("ixi", "oasis"))
    costs, nets = of.run().costs, of.sites["ixi"].nets

    def numel(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    norms = sum(numel(m) for m in nets["generator"].modules() if isinstance(m, nn.InstanceNorm2d))
    assert costs["parameters"] == numel(nets["generator"])
    assert costs["parameters_travelling"] == numel(nets["generator"]) - norms
    assert costs["parameters_discriminators"] == numel(nets["discriminators"])  # two tasks at either site


def test_groups_must_hold_every_site_once() -> None:
    class Forgets(Method):
        def federate(self, names: Any) -> list[list[str]]:
            return [[names[0]]]

    with pytest.raises(
        ContractError, match=r"federate\(\) gave \[\['ixi'\]\]; every site must be in exactly one group"
    ):
        trainer(Forgets(), sites=SITES)


# --- normalisation and dropout ---------------------------------------------------------------------------------------


def statistics(site: SiteState, last: str) -> list[Tensor]:
    return [b for name, b in site.nets["generator"].named_buffers() if name.endswith(last)]


def test_only_training_steps_touch_running_statistics() -> None:
    of = trainer(Method(), resnet(norm=Norm.batch), SITES, rounds=2, local_steps=3)
    of.round(1)
    before = {name: [b.clone() for b in statistics(site, "running_mean")] for name, site in of.sites.items()}
    of.score("test")
    of.gallery()
    for name, site in of.sites.items():
        assert all(map(torch.equal, statistics(site, "running_mean"), before[name]))
        assert {b.item() for b in statistics(site, "num_batches_tracked")} == {3}
    of.round(2)
    for site in of.sites.values():  # one forward pass of the generator a step; integers are nobody's mean
        assert {b.item() for b in statistics(site, "num_batches_tracked")} == {6}
        assert all((b >= 0).all() for b in statistics(site, "running_var"))


@dataclass
class SharesJudges(Method):
    def travels(self, place: Place) -> bool:
        return True


@dataclass
class SharesMeans(Method):
    def travels(self, place: Place) -> bool:
        return super().travels(place) and not place.path.endswith("running_var")


@pytest.mark.parametrize(
    ("method", "norm", "policy"),
    [
        (Method(), Norm.instance, "no buffers"),
        (Method(), Norm.batch, "buffers averaged"),
        (SharesJudges(), Norm.batch, "buffers averaged"),
        (SharesMeans(), Norm.batch, "buffers partly averaged"),
        (FedBN(), Norm.batch, "buffers local"),
        (Local(), Norm.batch, "buffers local"),
    ],
)
def test_the_policy_of_buffers_is_said(method: Method, norm: Norm, policy: str) -> None:
    of = trainer(method, resnet(norm=norm), SITES)
    assert buffer_policy(of.common, of.plan) == policy


class Listening(Method):
    """Notes the state of the noise at the start of every step; may draw more of it than others do."""

    heard: ClassVar[dict[tuple[str, int, str], str]] = {}

    def __init__(self, extra: int = 0) -> None:
        super().__init__()
        self.extra = extra

    def phase(self, site: SiteState, k: int) -> str:
        return str(k)

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        noise = next(m.generator for m in site.nets.modules() if isinstance(m, Dropout))
        assert noise is not None
        self.heard[site.name, site.round, site.phase] = sha256(noise.get_state().numpy().tobytes()).hexdigest()
        yield from super().step(site, batch)
        for _ in range(self.extra):
            site.nets["generator"](batch.source, batch.code)


def test_dropout_draws_from_a_stream_of_site_round_and_step() -> None:
    heard = []
    for extra, sites in ((0, SITES), (2, SITES), (0, ("brats", *SITES))):
        Listening.heard.clear()
        trainer(Listening(extra), sites=sites).run()
        heard.append({key: state for key, state in Listening.heard.items() if key[0] != "brats"})
    assert heard[0] == heard[1] == heard[2]  # another method's forward passes and another site shift nothing
    assert len(set(heard[0].values())) == len(heard[0]) == 2 * 2 * 3


def test_there_is_no_dropout_in_scores() -> None:
    of = trainer(Method(), sites=SITES, rounds=1)
    of.round(1)
    scores = [of.score("val") for _ in range(2)]
    assert scores[0] == scores[1]
    with evaluate.serving(of.method, of.server_party.download("ixi"), of.sites["ixi"]), torch.no_grad():
        feed = of.sites["ixi"].feeds["ixi"]
        batch = feed.batch(feed.tasks[0], np.array([0, 1]))
        images = [of.method.synthesise(of.sites["ixi"], batch) for _ in range(2)]
    assert torch.equal(*images)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("rounds", 0), ("batch", 0), ("zoom", 0.9), ("lr", 0.0), ("participation", 1.5), ("clip", -1.0)),
        *(("batch", 9_999_999), ("lr", float("nan")), ("rounds", 10**12), ("local_epochs", float("inf"))),
    ],
)
def test_options_that_cannot_be_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"trainer\.{name} is {value}; it"):
        options(**{name: value})


@dataclass
class OneOption(SGD):
    alpha: float = 0.0


@dataclass
class Weighs(Method):
    weights: list[float] = field(default_factory=lambda: [0.5, math.inf])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(value: float) -> None:
    for name in ("lr", "zoom", "clip", "local_epochs"):
        with pytest.raises(ValueError, match=f"trainer.{name} is {value}; it must be a finite number"):
            options(**{name: value})
    with pytest.raises(ValueError, match=r"trainer.optimizer.alpha is "):
        options(optimizer=OneOption(alpha=value))
    with pytest.raises(ValueError, match=f"method.l1 is {value}; it"):
        trainer(Method(l1=value), sites=SITES)
    with pytest.raises(ValueError, match=r"method.weights\[1\] is inf; it"):
        trainer(Weighs(), sites=SITES)
    with pytest.raises(ValueError, match=f"network.dropout is {value}; it"):
        trainer(Method(), resnet(dropout=value), SITES)
    with pytest.raises(ValueError, match=f"scenario.fail is {value}; it"):
        trainer(Method(), sites=replace(federation(SITES), conditions=Conditions(fail=value)))
