"""What the probes of a selected round's model say (fedsynth/probes.py makes them): how a model does at other sites, and what a
newcomer gets before and after it adapts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .means import Means, mean, over_seeds

FROM, ADAPTED, WELCOME = "from-", "adapted-", "welcome"


def cross_site(seeds: Sequence[Means], metric: str, sites: Sequence[str]) -> NDArray[np.float64]:
    """[model, data]: the mean over seeds and a site's tasks, of the model that serves one site on the data of another.

    On the diagonal a site's own model. nan where it was not scored: without any "from-SITE" off the diagonal throughout.
    """
    return np.array(
        [[_site(seeds, metric, "selected" if own == other else FROM + own, other) for other in sites] for own in sites]
    )


def _site(seeds: Sequence[Means], metric: str, selection: str, site: str) -> float:
    places = sorted({where for run in seeds for where in run if where[:2] == (selection, site)})
    return mean(over_seeds(seeds, where, metric) for where in places)


def newcomers(seeds: Sequence[Means], metric: str) -> Mapping[int, float]:
    """Training subjects of the newcomer -> the mean over seeds and site-tasks of newcomers; 0 is before adaptation.

    Empty for a scenario without newcomers; without 0 where a method has nothing to send.
    """
    found: dict[int, float] = {}
    for selection in sorted({where[0] for run in seeds for where in run}):
        if selection == WELCOME or selection.startswith(ADAPTED):
            places = sorted({where for run in seeds for where in run if where[0] == selection})
            score = mean(over_seeds(seeds, where, metric) for where in places)
            if not math.isnan(score):
                found[0 if selection == WELCOME else int(selection.removeprefix(ADAPTED))] = score
    return dict(sorted(found.items()))
