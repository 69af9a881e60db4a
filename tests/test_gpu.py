"""What only a GPU can show: no step waits for the host, and a GPU run agrees with the CPU's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fedsynth.benchmarks.case import Case
from fedsynth.method import Method
from fedsynth.registry import METHODS
from fedsynth.trainer import Trainer
from tests.federations import federation, options, personalised

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("name", METHODS.entries())
def test_local_training_never_waits_for_the_host(name: str) -> None:
    case = Case.of(METHODS[name])
    trainer = Trainer(case.method, case.network, federation(), options(device="cuda", rounds=3), seed=0)
    trainer._round(1)  # lazily made state, and memory that later rounds only copy into
    for site in trainer.sites.values():
        site.round = 2
        message = trainer.method.download(trainer.server, site.name)
        site.received = message.model
        with site.hook("receive"):
            trainer.method.receive(site, message)
        torch.cuda.synchronize()
        losses: dict[str, torch.Tensor] = {}
        draws = site.schedule()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for k, draw in enumerate(draws):
                site.phase = trainer.method.phase(site, k)
                trainer.step(trainer.method.step(site, draw.make()), site.players, site.optimizers, losses)
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("method", [METHODS["fedavg"](), METHODS["pflsynth"]()])
def test_one_round_agrees_with_the_cpu(method: Method) -> None:
    network = dataclasses.replace(personalised(), dropout=0.0)  # the two devices draw different noise
    scores = {
        device: [
            row["psnr"]
            for row in Trainer(method, network, federation(), options(device=device, rounds=1), seed=0).run().scores
        ]
        for device in ("cpu", "cuda")
    }
    np.testing.assert_allclose(scores["cuda"], scores["cpu"], atol=0.05)


def test_a_deterministic_run_repeats_exactly() -> None:
    given = options(device="cuda", deterministic=True)
    digests = [
        Trainer(METHODS["pflsynth"](), personalised(), federation(), given, seed=0).run().digest for _ in range(2)
    ]
    assert digests[0] == digests[1]
