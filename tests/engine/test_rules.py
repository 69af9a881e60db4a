"""Robust server rules: by hand, against scipy and numpy, with holes, and under any method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import trim_mean
from support.federations import federation, trainer

from fedsynth.exchange import ContractError, Message
from fedsynth.federation import Conditions, count_of
from fedsynth.method import Method
from fedsynth.methods.fedamp import FedAMP
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedavgm import FedAvgM
from fedsynth.methods.fedfomo import FedFomo
from fedsynth.methods.fedgan import FedGAN
from fedsynth.methods.fedmean import FedMean
from fedsynth.methods.fedpidavg import FedPIDAvg
from fedsynth.methods.ifca import IFCA
from fedsynth.methods.local import Local
from fedsynth.methods.prrfl import PRRFL
from fedsynth.methods.scaffold import SCAFFOLD
from fedsynth.runtime.options import ServerRule
from fedsynth.server import rules
from fedsynth.site import SiteState

VALUES = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 50)))


@pytest.mark.parametrize(("corrupt", "count"), [(0.0, 0), (0.1, 1), (0.2, 1), (0.3, 2), (0.45, 3)])
def test_the_trimmed_mean_is_scipys(corrupt: float, count: int) -> None:
    """Of seven: the share is rounded to a number of sites."""
    np.testing.assert_allclose(
        rules.trimmed_mean(VALUES, corrupt), trim_mean(VALUES.numpy(), count / 7 + 1e-9, axis=0), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("share", "total", "count"), [(0.29, 100, 29), (0.33, 3, 1), (0.5, 3, 2), (0.07, 100, 7), (0, 5, 0)]
)
def test_how_many_sites_a_share_is_has_one_answer_exact_in_decimals(share: float, total: int, count: int) -> None:
    names = [f"{k:03}" for k in range(total)]
    assert count_of(share, total) == count == len(Conditions(poisoned=share).corrupt(names))
    assert rules.fewest_for_krum(share, total) == 2 * count + 3
    assert rules.trimmed(share, total) == min(count, (total - 1) // 2)


@pytest.mark.parametrize("rows", [1, 2, 6, 7])
def test_half_trimmed_is_numpys_median(rows: int) -> None:
    np.testing.assert_allclose(
        rules.trimmed_mean(VALUES[:rows], 0.5), np.median(VALUES[:rows].numpy(), axis=0), rtol=1e-12
    )


def test_what_a_site_lacks_is_left_out_of_its_column() -> None:
    nan = torch.nan
    stack = torch.tensor([[1.0, 5, nan, nan], [2, nan, nan, 7], [9, 3, nan, nan]])
    found = rules.trimmed_mean(stack, 0.34)
    assert found[:2].tolist() == [2, 4]
    assert found[2].isnan()
    assert found[3] == 7


def test_krum_takes_the_row_in_the_closest_company() -> None:
    """By hand, n = 5, f = 1: the two nearest others of each row on a line at 0, 1, 3, 3.5, 100."""
    stack = torch.tensor([[0.0], [1], [3], [3.5], [100]])
    sums = {0: 1 + 9, 1: 1 + 4, 2: 0.25 + 4, 3: 0.25 + 6.25, 4: 96.5**2 + 97**2}
    assert rules.krum(stack, 0.2) == min(sums, key=lambda row: sums[row])


def test_krum_does_not_prefer_the_site_that_holds_fewest() -> None:
    """By hand, n = 4, f = 0; the last row has one value of four. Summed and not averaged, its distances would be the smallest."""
    stack = torch.tensor([[0.0] * 4, [1.0] * 4, [-1.0] * 4, [1.5, torch.nan, torch.nan, torch.nan]])
    means = {0: 1 + 1, 1: 0.25 + 1, 2: 1 + 4, 3: 0.25 + 2.25}
    assert rules.krum(stack, 0) == min(means, key=lambda row: means[row]) == 1


def test_clipping_measures_a_row_by_the_values_that_it_has() -> None:
    stack = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 1], [4, torch.nan, torch.nan, torch.nan]])
    torch.testing.assert_close(rules.clipped(stack, torch.zeros(4))[2, 0], torch.tensor(1.0))


def test_clipping_cuts_long_updates_to_the_median_length() -> None:
    reference = torch.tensor([1.0, 1.0])
    stack = reference + torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 2.0]])  # lengths 5, 1, 2
    torch.testing.assert_close(rules.clipped(stack, reference) - reference, torch.tensor([[1.2, 1.6], [0, 1], [0, 2]]))


# --- in a run --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "why"),
    [
        (FedFomo(), {"server_rule": ServerRule.median}, "server_rule=median does nothing under method FedFomo"),
        (FedAMP(), {"server_rule": ServerRule.krum}, "server_rule=krum does nothing under method FedAMP"),
        (PRRFL(), {"server_rule": ServerRule.norm_clip}, "server_rule=norm_clip does nothing under method PRRFL"),
        (Local(), {"server_rule": ServerRule.median}, "under method Local, of which nothing travels"),
        (FedAvg(), {"server_rule": ServerRule.trimmed_mean}, r"corrupt=0.0 and at most 4 .*corrupt=0\.25 trims one"),
        (
            FedAvg(),
            {"server_rule": ServerRule.krum, "corrupt": 0.25},
            "at most 4 uploads a round: Krum needs at least 5",
        ),
        (
            FedAvg(),
            {"server_rule": ServerRule.krum, "participation": 0.5},
            "at most 2 uploads a round: Krum needs at least 3",
        ),
        (FedAvg(), {"server_rule": ServerRule.median, "participation": 0.5}, "leaves out no upload.* needs at least 3"),
        (
            FedAvg(),
            {"server_rule": ServerRule.trimmed_mean, "corrupt": 0.4, "participation": 0.5},
            "leaves out no upload.* needs at least 3",
        ),
        (
            FedAvg(),
            {"server_rule": ServerRule.norm_clip, "participation": 0.25},
            "shortens no upload.* needs at least 2",
        ),
        (IFCA(), {"server_rule": ServerRule.krum}, "for 2 models of method IFCA, 2 a model: Krum needs at least 3"),
        (FedMean(), {"server_rule": ServerRule.trimmed_mean, "corrupt": 0.25}, "ignores weights.* FedMean differs"),
        (FedPIDAvg(), {"server_rule": ServerRule.median}, "ignores weights, by which alone method FedPIDAvg differs"),
    ],
)
def test_a_rule_that_could_do_nothing_is_refused_before_training(
    method: Method, options: dict[str, Any], why: str
) -> None:
    with pytest.raises((ContractError, ValueError), match=why):
        trainer(method, **options)


@pytest.mark.parametrize("method", [FedAvg(), FedAvgM()])
def test_where_krum_has_too_few_uploads_the_server_stays_as_it_was(
    method: Method, caplog: pytest.LogCaptureFixture
) -> None:
    """With failures, rounds have from one to four uploads."""
    sites = replace(federation(), conditions=Conditions(fail=0.4))
    of = trainer(method, sites=sites, server_rule=ServerRule.krum, rounds=6, local_steps=1)
    sizes = {round: len(of.participants(round)) for round in range(1, 7)}
    assert {size >= 3 for size in sizes.values()} == {True, False}
    for round, size in sizes.items():
        before, kept = of.server.model.clone(), of.state.costs.rounds_with_too_few
        of.round(round)
        if size < 3:
            assert torch.equal(of.server.model, before)
            assert (
                f"round {round}: krum has too few uploads ({size} arrived), so the server keeps a model" in caplog.text
            )
        assert of.state.costs.rounds_with_too_few == kept + (size < 3)
    assert of.run().status == "done"


@pytest.mark.parametrize(
    ("rule", "corrupt", "fewest"),
    [(ServerRule.median, 0.0, 3), (ServerRule.trimmed_mean, 0.4, 3), (ServerRule.norm_clip, 0.0, 2)],
)
def test_rounds_with_too_few_uploads_for_anything_but_the_plain_mean_are_counted(
    rule: ServerRule, corrupt: float, fewest: int, caplog: pytest.LogCaptureFixture
) -> None:
    sites = replace(federation(), conditions=Conditions(fail=0.4))
    of = trainer(FedAvg(), sites=sites, server_rule=rule, corrupt=corrupt, rounds=6, local_steps=1)
    few = [round for round in range(1, 7) if len(of.participants(round)) < fewest]
    assert 0 < len(few) < 6
    for round in range(1, 7):
        of.round(round)
        assert (f"round {round}: {rule.name} has too few" in caplog.text) == (round in few)
    assert of.state.costs.rounds_with_too_few == caplog.text.count("so it is the plain mean") == len(few)


def test_a_cluster_of_one_is_noted() -> None:
    of = trainer(IFCA(), server_rule=ServerRule.norm_clip)
    models, buffers = of.method.download(of.server, "ixi")["model"], of.server.buffers
    uploads = {
        name: Message(model=models[0] + k, buffers=buffers, weight=1, cluster=int(name == "oasis"))
        for k, name in enumerate(of.server.names)
    }
    assert of.server.has_enough(uploads)
    assert not of.server.too_few
    of.method.aggregate(of.server, uploads)
    assert of.server.too_few


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "corrupt"),
    [(ServerRule.median, 0.0), (ServerRule.trimmed_mean, 0.25), (ServerRule.krum, 0.0), (ServerRule.norm_clip, 0.0)],
)
@pytest.mark.parametrize("method", [FedAvg(), SCAFFOLD()])
def test_one_liar_cannot_carry_the_model_away(
    rule: ServerRule, corrupt: float, method: FedAvg, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lie(site: SiteState) -> Message:
        message = upload(site)
        return Message(message, model=message.model + 1e4) if site.name == "midas" else message

    models = {}
    for chosen in (ServerRule.mean, rule):
        of = trainer(method, server_rule=chosen, corrupt=corrupt, local_steps=1, rounds=9, validate_every=9)
        upload = of.method.upload
        monkeypatch.setattr(of.method, "upload", lie)
        before = of.server.model.clone()
        of.round(1)
        monkeypatch.undo()
        models[chosen] = float((of.server.model - before).abs().max())
    assert models[ServerRule.mean] > 2e3
    assert models[rule] < 1


@pytest.mark.parametrize("rule", ServerRule)
def test_vectors_with_holes_are_no_hindrance(rule: ServerRule) -> None:
    """FedGAN's discriminators: each task is another set of sites', T2->PD one site's alone."""
    of = trainer(FedGAN(), server_rule=rule, corrupt=0.25 if rule is ServerRule.trimmed_mean else 0.0)
    of.round(1)
    assert of.server.model.isfinite().all()
