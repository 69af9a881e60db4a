"""What the variance of each pair of a family counts as at least.

With five seeds a variance has few degrees of freedom, and among many pairs some come out far too small by chance: that is where
the largest t lies. Other pairs tell what a pair's variance can be. The median of all pairs is precise, but wrong where methods
spread unequally. What a pair's two methods have in all of their pairs is less precise, and theirs. The floor is the mean of both.
"""

from __future__ import annotations

import numpy as np

from ..scores import Floats


def floored(variances: Floats) -> Floats:
    """From the variances [..., K, K] of the differences of K methods: each, or its floor where that is more.

    What a method has is by least squares, as if a pair's variance were the sum of its two methods'. With three methods or fewer
    that fits every pair exactly and tells nothing new, so the floor is the median.
    """
    methods = variances.shape[-1]
    pairs = variances[(..., *np.triu_indices(methods, 1))]
    floor = np.median(pairs, axis=-1)[..., None, None]
    if methods > 3:
        part = (variances.sum(-1) - pairs.sum(-1, keepdims=True) / (methods - 1)) / (methods - 2)
        part = np.maximum(part, 0)
        floor = (floor + part[..., :, None] + part[..., None, :]) / 2
    return np.maximum(variances, floor)
