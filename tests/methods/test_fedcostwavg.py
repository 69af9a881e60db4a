"""The weights of FedCostWAvg and FedPIDAvg on costs made by hand; the cost itself. The three rounds are an oracle's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from support.federations import trainer, uneven

from fedsynth.evaluation import evaluate
from fedsynth.exchange import Message
from fedsynth.method import Method
from fedsynth.methods.fedcostwavg import FedCostWAvg, cost
from fedsynth.methods.fedpidavg import FedPIDAvg

SIZES = {"brats": 2, "ixi": 5, "oasis": 3}  # training subjects of two slices; 0.2, 0.5 and 0.3 of all


def weights(method: FedCostWAvg, costs: Sequence[dict[str, float]]) -> dict[str, float]:
    """The weights in the last of these rounds, of each the costs of the sites that took part."""
    of = trainer(method, sites=uneven(SIZES))
    found: dict[str, float] = {}
    for own in costs:
        uploads = {
            name: Message(model=of.server.model, buffers=of.server.buffers, weight=of.server.samples[name], cost=value)
            for name, value in own.items()
        }
        found = method.weights(of.server, uploads)
        method.aggregate(of.server, uploads)
    assert sum(found.values()) == pytest.approx(1)
    return found


FIRST = {"brats": 4.0, "ixi": 2.0, "oasis": 1.0}


@pytest.mark.parametrize("method", [FedCostWAvg(), FedPIDAvg()])
def test_in_the_first_round_sizes_alone_count(method: FedCostWAvg) -> None:
    assert weights(method, [FIRST]) == pytest.approx({"brats": 0.2, "ixi": 0.5, "oasis": 0.3})


def test_half_of_a_weight_is_old_cost_over_new_cost() -> None:
    found = weights(FedCostWAvg(), [FIRST, {"brats": 2.0, "ixi": 2.0, "oasis": 2.0}])
    falls = {"brats": 2 / 3.5, "ixi": 1 / 3.5, "oasis": 0.5 / 3.5}
    assert found == pytest.approx(
        {"brats": 0.1 + falls["brats"] / 2, "ixi": 0.25 + falls["ixi"] / 2, "oasis": 0.15 + falls["oasis"] / 2}
    )


def test_an_absent_site_keeps_its_cost_and_a_late_one_has_a_ratio_of_1() -> None:
    rounds = [{"brats": 4.0, "ixi": 2.0}, {"ixi": 2.0}, {"brats": 2.0, "ixi": 1.0, "oasis": 7.0}]
    found = weights(FedCostWAvg(alpha=0.0), rounds)
    assert found == pytest.approx({"brats": 2 / 5, "ixi": 2 / 5, "oasis": 1 / 5})


def test_pid_adds_the_falls_and_the_sums_of_six_costs() -> None:
    steady = [{"brats": 10.0, "ixi": 10.0, "oasis": 10.0}, *[{"brats": 4.0, "ixi": 2.0, "oasis": 1.0}] * 6]
    found = weights(FedPIDAvg(), [*steady, {"brats": 3.0, "ixi": 1.5, "oasis": 2.0}])
    falls = {"brats": 1 / 1.5, "ixi": 0.5 / 1.5, "oasis": 0.0}  # where a cost rose, there is no fall
    sums = {"brats": 5 * 4 + 3.0, "ixi": 5 * 2 + 1.5, "oasis": 5 * 1 + 2.0}
    sizes = {"brats": 0.2, "ixi": 0.5, "oasis": 0.3}
    expected = {n: 0.45 * sizes[n] + 0.45 * falls[n] + 0.1 * sums[n] / sum(sums.values()) for n in SIZES}
    assert found == pytest.approx(expected)


def test_where_no_cost_fell_all_falls_are_alike() -> None:
    found = weights(FedPIDAvg(alpha=0.0, gamma=0.0), [FIRST, FIRST])
    assert found == pytest.approx(dict.fromkeys(SIZES, 1 / 3))


def test_the_cost_is_the_mean_l1_of_all_tasks_on_all_training_slices() -> None:
    of = trainer(FedCostWAvg(), sites=uneven(SIZES))
    site = of.sites["ixi"]
    with site.hook("upload"):
        found = cost(site)
    with evaluate.serving(of.method, of.server, site), torch.no_grad():
        slices = [feed.batch(task, feed.rows["train"]) for feed in site.feeds.values() for task in feed.tasks]
        losses = [float((site.answer(own) - own.target).abs().mean()) for own in slices]
    assert len(losses) == 2
    assert found == pytest.approx(sum(losses) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: FedCostWAvg(alpha=1.5), r"method\.alpha is 1\.5"),
        (lambda: FedPIDAvg(gamma=-0.1), r"method\.gamma is -0\.1"),
        (lambda: FedPIDAvg(gamma=0.6), "from 0 to 0.55"),
    ],
)
def test_an_impossible_option_is_named(make: Callable[[], Method], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()
