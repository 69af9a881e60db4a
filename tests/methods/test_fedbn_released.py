"""FedBN as released: the named site's normalisation at every site, the mean of the rest."""

from __future__ import annotations

import numpy as np
import pytest
from support.federations import resnet, trainer

from fedsynth.methods.fedbn_released import FedBNReleased, is_norm
from fedsynth.networks.blocks import Norm


@pytest.mark.parametrize("norm", Norm)
def test_one_sites_norms_for_all(norm: Norm) -> None:
    of = trainer(FedBNReleased(norms_of="ixi"), resnet(norm=norm), ("brats", "ixi"))
    of.round(1)
    ixi, both = of.sites["ixi"].pack().numpy(), [site.pack().double().numpy() for site in of.sites.values()]
    norms = of.plan.model.where(is_norm, of.device).numpy()
    assert norms.any()
    np.testing.assert_array_equal(of.server.model.numpy()[norms], ixi[norms])
    np.testing.assert_array_equal(of.server.model.numpy()[~norms], np.mean(both, 0).astype(np.float32)[~norms])
    np.testing.assert_array_equal(of.server.buffers, of.sites["ixi"].pack_buffers())
    assert bool(of.plan.buffers.numel) is (norm is Norm.batch)
