"""Fine-tuning before serving: plain FedAvg and FedBABU, whose head learns only then."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from support import federations
from support.federations import resnet

from fedsynth.evaluation.evaluate import serving
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedbabu import FedBABU
from fedsynth.methods.finetune import Finetune

ON = resnet(dropout=0.0, blocks=1)
trainer = partial(federations.trainer, network=ON, sites=("brats", "ixi"))


def test_fine_tuning_changes_what_is_served_and_nothing_else() -> None:
    runs = {steps: trainer(Finetune(steps=steps), rounds=1).run() for steps in (0, 3)}
    plain = trainer(FedAvg(), rounds=1).run()
    assert runs[0].scores == plain.scores
    assert runs[0].digest == runs[3].digest == plain.digest
    assert runs[3].scores != plain.scores


def test_without_fine_tuning_fedbabu_serves_the_random_head() -> None:
    of = trainer(FedBABU(steps=0))
    of.round(1)
    site = of.sites["ixi"]
    with serving(of.method, of.server, site):
        assert torch.equal(site.pack(), of.server.model)


@pytest.mark.parametrize(
    ("method", "option", "value"), [(Finetune, "steps", -1), (FedBABU, "steps", -1), (FedBABU, "head_stages", 0)]
)
def test_options_out_of_range_are_refused(method: type[FedAvg], option: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"method\.{option} is {value}; it must be at least"):
        method(**{option: value})
