"""The ratio of a method's own term to the task's loss is what it is by hand, and watching it changes no number."""

from __future__ import annotations

import inspect
import re
import shlex

import pytest
import torch
from torch import Tensor

from fedsynth.benchmarks.contract.catalogue import HEAD
from fedsynth.benchmarks.contract.gradient_ratio import GradientRatios, main, ratios
from fedsynth.benchmarks.contract.toy import ToyFederation
from fedsynth.feed import Batch
from fedsynth.methods.fedprox import FedProx
from fedsynth.registry import METHODS
from fedsynth.site import SiteState
from fedsynth.step import Pairs


class ByHand(FedProx):
    """FedProx that notes |mu (w - received)| / |gradient of the task's loss| by itself."""

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super(FedProx, self).step(site, batch):
            if player == "generator" and site.round > 1:
                assert site.received is not None
                pull = self.mu * (site.pack() - site.received)
                slopes = torch.autograd.grad(loss, site.players[player], retain_graph=True)
                ratio = pull.norm() / torch.cat([slope.flatten() for slope in slopes]).norm()
                before = site.memory.get("ratios", torch.zeros(0))
                site.memory["ratios"] = torch.cat([before, ratio[None]])
            yield player, loss + self.mu * site.distance(player, site.received)


def test_the_ratio_of_a_pull_is_its_length_by_the_gradient_s() -> None:
    toy = ToyFederation.of(FedProx)
    found = ratios(ToyFederation(FedProx(mu=3.0), toy.network).trainer("a", rounds=2, local_steps=4))
    trainer = ToyFederation(ByHand(mu=3.0), toy.network).trainer("a", rounds=2, local_steps=4)
    trainer.run()
    expected = trainer.sites["a"].memory.tensor("ratios")
    assert found == pytest.approx(expected.tolist(), rel=1e-4)
    assert found[0] == 0.0
    assert found[-1] > 0


@pytest.mark.parametrize("name", ["fedavg", "moon", "prrfl"])
def test_watching_changes_no_number_and_leaves_nothing(name: str) -> None:
    toy = ToyFederation.of(METHODS[name])

    def trained(watch: bool) -> tuple[Tensor, int]:
        trainer = toy.trainer("ab")
        found = GradientRatios(trainer).found if watch else []
        for round in (1, 2):
            trainer.round(round)
        assert "objective" not in vars(trainer.method)
        return trainer.server.model, len(found)

    (expected, _), (model, steps) = trained(False), trained(True)
    torch.testing.assert_close(model, expected, rtol=1e-4, atol=1e-5)
    assert (steps > 0) is (name != "fedavg")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fedprox", "feddecorr"])
def test_the_catalogue_s_command_measures_what_a_docstring_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = re.findall(r"gradient_ratio NAME ((?:.*\\\n)*.*)", HEAD)
    main([name, *shlex.split(command.replace("\\\n", " "))])
    median = float(capsys.readouterr().out.splitlines()[1].split()[1])
    (said,) = re.findall(r"ratio of gradients is ([\d.]+\d)", inspect.getdoc(METHODS[name]) or "")
    assert f"{median:.1g}" == said
