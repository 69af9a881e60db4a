"""The intensities of a federation: a plot a contrast, a line a site."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from fedsynth.federation import CONTRASTS

from ....records.data_card import BINS, Facts
from ..style import COLOURS, DASHES, style


def draw_intensities(sites: Facts) -> Figure:
    """The histograms that a data card has of each site."""
    owned = {contrast for own in sites.values() for contrast in own["contrasts"]}
    contrasts = [c for c in CONTRASTS if c in owned] + sorted(owned - set(CONTRASTS))
    centres = (np.arange(BINS) + 0.5) / BINS
    with style():
        figure = Figure(figsize=(2.4 * len(contrasts) + 1.2, 2.3), layout="constrained")
        panels = figure.subplots(1, len(contrasts), squeeze=False, sharey=True)[0]
        for panel, contrast in zip(panels, contrasts, strict=True):
            for number, (name, own) in enumerate(sites.items()):
                if contrast in own["histogram"]:
                    dashes = DASHES[number // len(COLOURS) % len(DASHES)] or (None, None)
                    look = {"color": COLOURS[number % len(COLOURS)], "dashes": dashes}
                    panel.plot(centres, own["histogram"][contrast], linewidth=1.3, label=name, **look)
            panel.set(title=contrast, xlabel="intensity", xlim=(0, 1))
            panel.grid(alpha=0.3)
        panels[0].set(ylabel="share of the foreground")
        handles = {
            label: line for panel in panels for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        figure.legend([handles[n] for n in sites], list(sites), loc="outside right upper", frameon=False)
    return figure
