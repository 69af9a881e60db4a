"""The centralised methods are pooled training, each on the network that it names."""

from __future__ import annotations

import pytest
from support.federations import trainer

from fedsynth.benchmarks.contract.toy import small
from fedsynth.registry import METHODS, NETWORKS


@pytest.mark.parametrize(
    ("name", "network"), [("pix2pix", "unet"), ("pgan", "resnet"), ("pflsynth_pooled", "personalised")]
)
def test_it_is_pooled_training(name: str, network: str) -> None:
    assert METHODS[name].published == network
    runs = [trainer(METHODS[method](), small(NETWORKS[network]), ("brats", "ixi")).run() for method in (name, "pooled")]
    assert runs[0].digest == runs[1].digest
    assert runs[0].scores == runs[1].scores


def test_pooled_training_takes_the_steps_of_all_sites_and_is_scored_at_each() -> None:
    of = trainer(METHODS["pooled"](), small(NETWORKS["resnet"]))
    (site,) = of.sites.values()
    assert site.steps == 12
    assert {row["site"] for row in of.run().scores} == {"brats", "ixi", "midas", "oasis"}


def test_pooled_training_takes_as_many_steps_as_the_sites_that_take_part() -> None:
    """Half of four sites: half of the steps of all four, from the batches of all."""
    of = trainer(METHODS["pooled"](), small(NETWORKS["resnet"]), local_steps=4, participation=0.5)
    of.round(1)
    assert {row["gradient_evaluations"] for row in of.state.curve} == {2 * 8}
