"""Named random streams. Each purpose has a stream of its own, which follows from the seed and the names alone: so nothing needs
to be saved, resuming is exact, and adding a site or a method changes no other stream."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import torch


def key(*names: object) -> int:
    """A 63-bit number that follows from the names of a stream, such as `(seed, site, "order", epoch)`."""
    return int.from_bytes(blake2b(repr(names).encode(), digest_size=8).digest(), "little") >> 1


def host(*names: object) -> np.random.Generator:
    """A numpy stream, for decisions that are made on the host: orders, draws, participation."""
    return np.random.Generator(np.random.Philox(key(*names)))


def device(where: torch.device, *names: object) -> torch.Generator:
    """A torch stream on a device, for weights and noise."""
    return torch.Generator(where).manual_seed(key(*names))
