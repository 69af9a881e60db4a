"""Floating-point operations are counted as torch counts them."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fedsynth.runtime.flops import FlopCounter


def test_the_count_is_torchs() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4), nn.ConvTranspose2d(4, 2, 2, 2), nn.Flatten(2))
    heads = nn.MultiheadAttention(36, 2, batch_first=True)
    counts = []
    for counter in (FlopCounter(), FlopCounterMode(display=False)):
        with counter:
            features = net(torch.ones(3, 1, 5, 5))
            heads(features, features, features)[0].sum().backward()
        counts.append(counter.total if isinstance(counter, FlopCounter) else counter.get_total_flops())
    assert counts[0] == counts[1] > 0
