"""Random streams by name: what a subject looks like depends on its own names only, never on who else is rendered.

Unlike those of `fedsynth.streams` they have Philox keys of 128 bits. All images of the phantom follow from these keys.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def stream(*names: object) -> np.random.Generator:
    """The Philox stream of names such as `(seed, site, "noise", subject, contrast, z)`."""
    digest = blake2b(repr(names).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
