"""The losses, by hand."""

from __future__ import annotations

import pytest
import torch

from fedsynth.losses import l1, lsgan


def test_the_losses_by_hand() -> None:
    scores = torch.tensor([[0.5, -1.0], [2.0, 1.0]])
    assert lsgan(scores, True).item() == pytest.approx((0.25 + 4 + 1 + 0) / 4)
    assert lsgan(scores, False).item() == pytest.approx((0.25 + 1 + 4 + 1) / 4)
    assert l1(scores, torch.zeros(2, 2)).item() == pytest.approx(4.5 / 4)
