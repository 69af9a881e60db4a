"""Robust server rules: by hand, against scipy and numpy, with holes, and under any method."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import trim_mean
from support.federations import trainer

from fedsynth.exchange import Message
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedgan import FedGAN
from fedsynth.methods.scaffold import SCAFFOLD
from fedsynth.runtime.options import ServerRule
from fedsynth.server import rules
from fedsynth.site import SiteState

VALUES = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 50)))


@pytest.mark.parametrize("corrupt", [0.0, 0.1, 0.2, 0.3, 0.45])
def test_the_trimmed_mean_is_scipys(corrupt: float) -> None:
    np.testing.assert_allclose(
        rules.trimmed_mean(VALUES, corrupt), trim_mean(VALUES.numpy(), corrupt, axis=0), rtol=1e-12
    )


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


def test_krum_needs_enough_sites() -> None:
    with pytest.raises(ValueError, match="Krum with 1 corrupt of 4 sites in a round: it needs at least 5"):
        rules.krum(VALUES[:4], 0.3)


def test_clipping_cuts_long_updates_to_the_median_length() -> None:
    reference = torch.tensor([1.0, 1.0])
    stack = reference + torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 2.0]])  # lengths 5, 1, 2
    torch.testing.assert_close(rules.clipped(stack, reference) - reference, torch.tensor([[1.2, 1.6], [0, 1], [0, 2]]))


# --- in a run --------------------------------------------------------------------------------------------------------


def test_nothing_trimmed_is_fedavg_where_all_sites_have_as_many_slices() -> None:
    trimmed, plain = (trainer(FedAvg(), server_rule=rule) for rule in (ServerRule.trimmed_mean, ServerRule.mean))
    assert len({site.samples for site in plain.sites.values()}) == 1
    for of in (trimmed, plain):
        of.round(1)
    np.testing.assert_allclose(trimmed.server.model, plain.server.model, rtol=1e-6, atol=1e-8)


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
        of = trainer(method, server_rule=chosen, corrupt=corrupt)
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
    of = trainer(FedGAN(), server_rule=rule)
    of.round(1)
    assert of.server.model.isfinite().all()
