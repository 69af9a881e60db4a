"""What a method shares of the nets: checked before a run, and counted for its record."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import nn

from ..exchange import ContractError, Plan, leaves, places
from ..method import Method
from ..networks.network import Network
from ..site import SiteState


def check_shares_a_part(method: Method, plan: Plan, nets: nn.ModuleDict, network: Network) -> None:
    """Raise ContractError for a method that shares a part, if on this network the part is all of the generator or none of it."""
    if method.partial:
        chosen = {place.path for place in (*plan.model.places, *plan.buffers.places)}
        shared = [place.path in chosen for place, _ in places(nets) if place.net == "generator"]
        if all(shared) or not any(shared):
            raise ContractError(
                f"method {type(method).__name__} shares part of the generator, but on the network {type(network).__name__} that"
                f" is {'all' if any(shared) else 'none'} of it; choose another network or norm"
            )


def parameter_counts(sites: Iterable[SiteState], plan: Plan) -> dict[str, float]:
    """The numbers of parameters of a site, in the mean over sites: of the generator, of what travels, of the discriminators."""
    counts = []
    for site in sites:
        named = [(name, sum(p.numel() for p in net.parameters())) for name, net in leaves(site.nets)]
        lengths = zip(plan.model.places, plan.model.lengths, strict=True)
        counts.append(
            {
                "parameters": sum(n for name, n in named if name == "generator"),
                "parameters_travelling": sum(length for place, length in lengths if place.path in site.held),
                "parameters_discriminators": sum(n for name, n in named if name.startswith("discriminators")),
            }
        )
    return {key: float(np.mean([count[key] for count in counts])) for key in counts[0]}


def buffer_policy(nets: nn.ModuleDict, plan: Plan) -> str:
    """What happens to the running statistics of the generator's normalisation, for the tables' captions."""
    floating = sum(place.is_buffer for place, _ in places(nets) if place.net == "generator")
    travelling = sum(place.net == "generator" for place in plan.buffers.places)
    if not floating:
        return "no buffers"
    return {0: "buffers local", floating: "buffers averaged"}.get(travelling, "buffers partly averaged")
