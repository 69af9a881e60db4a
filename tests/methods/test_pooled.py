"""The centralised methods are pooled training, each on the network that it names."""

from __future__ import annotations

import pytest
from support.federations import federation, options

from fedsynth.benchmarks.contract.toy import small
from fedsynth.registry import METHODS, NETWORKS
from fedsynth.trainer import Trainer


@pytest.mark.parametrize(
    ("name", "network"), [("pix2pix", "unet"), ("pgan", "resnet"), ("pflsynth_pooled", "personalised")]
)
def test_it_is_pooled_training(name: str, network: str) -> None:
    assert METHODS[name].published == network
    runs = [
        Trainer(METHODS[method](), small(NETWORKS[network]), federation(("brats", "ixi")), options(), seed=0).run()
        for method in (name, "pooled")
    ]
    assert runs[0].digest == runs[1].digest
    assert runs[0].scores == runs[1].scores


def test_pooled_training_takes_the_steps_of_all_sites_and_is_scored_at_each() -> None:
    of = Trainer(METHODS["pooled"](), small(NETWORKS["resnet"]), federation(), options(local_steps=3), seed=0)
    (site,) = of.sites.values()
    assert site.steps == 12
    assert {row["site"] for row in of.run().scores} == {"brats", "ixi", "midas", "oasis"}
