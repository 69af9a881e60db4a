"""Runs whose sites start from weights of their own, as in pFLSynth's released code (`trainer.common_start=false`).

The sites that train in round 1 begin with weights of their own. The server's first model is the mean of the starts of those whose
uploads arrive, weighted as the method's own mean: so whatever a server computes from the sites' mean minus its model is what they
learnt. A site that first trains in a later round has what travels from the server, and the rest from its own draw.
"""

from __future__ import annotations

from collections.abc import Collection

from ..exchange import ContractError
from ..method import Method
from ..runtime.options import ServerRule, TrainerOptions
from ..server import Server
from ..site import SiteState


def check_own_starts(method: Method, server: Server, options: TrainerOptions) -> None:
    """Raise ContractError where sites may not start from weights of their own."""
    if options.common_start:
        return
    name = type(method).__name__
    if method.needs_common_start:
        wrong = f"method {name} needs weights that are the same at every site"
    elif any(method.download(server, site).model.shape != server.model.shape for site in server.names):
        wrong = f"the server of method {name} sends several models, which the start of a site cannot replace"
    elif options.server_rule is not ServerRule.mean:
        wrong = (
            f"trainer.server_rule={options.server_rule.name} compares models, which in round 1 would be unrelated draws"
        )
    else:
        return
    raise ContractError(f"{wrong}; set trainer.common_start=true")


def meet(server: Server, sites: Collection[SiteState], equal_weights: bool) -> None:
    """Make the server's model and buffers the mean of what these sites start from."""
    weights = {site.name: 1.0 if equal_weights else float(site.samples) for site in sites}
    server.start_from({site.name: site.start for site in sites}, weights)
