"""How a site scales the intensities of its images, where it does so in another way than the data set."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

import numpy as np

from .site import Site

SPAN = 3.0  # standard deviations from the mean to either end of the range


class Normalisation(Enum):
    """What the intensities of a contrast are scaled by, to [-1, 1]."""

    slice = "slice"  # each slice's own minimum and maximum, as the released pFLSynth code converts volumes to images
    zscore = "zscore"  # the mean and three standard deviations of the subject's foreground; clipped


def rescaled(site: Site, how: Normalisation) -> Site:
    """The site with every contrast of every subject scaled in this way, in all splits."""
    images = np.array(site.images)
    clean = None if site.noise_free is None else np.array(site.noise_free)
    place = {row: number for number, row in enumerate(site.rows("test"))}
    for subject in site.subjects:
        rows = subject.slices
        for channel in range(len(site.contrasts)):
            values = images[rows, channel].astype(np.float32)
            if how is Normalisation.slice:
                low, high = values.min((1, 2), keepdims=True), values.max((1, 2), keepdims=True)
                middle, half = (low + high) / 2, (high - low) / 2
            else:
                foreground = values[site.masks[rows]]
                middle, half = foreground.mean(), SPAN * foreground.std()
            images[rows, channel] = np.clip((values - middle) / np.maximum(half, 1e-6), -1, 1)
            if clean is not None and subject.split == "test":
                own = slice(place[rows.start], place[rows.start] + len(values))
                scaled = (clean[own, channel].astype(np.float32) - middle) / np.maximum(half, 1e-6)
                clean[own, channel] = np.clip(scaled, -1, 1)
    return replace(site, images=images, noise_free=clean)
