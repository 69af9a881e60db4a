"""Runs that are refused before they begin: a server rule that could do nothing, starts that the method cannot have."""

from __future__ import annotations

from math import prod

from ..exchange import ContractError
from ..method import Method
from ..runtime.options import ServerRule, TrainerOptions
from ..server import Server, rules
from .participation import Participation


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


def check_server_rule(method: Method, server: Server, options: TrainerOptions, participants: Participation) -> None:
    """Check the server rule of a run, before it begins; `participants` knows whose uploads arrive in which round.

    Raises:
        ContractError: The method would not be touched by a robust rule, or not differ from FedAvg under it.
        ValueError: No round has enough uploads for the rule to withstand anything.
    """
    if (rule := options.server_rule) is ServerRule.mean:
        return
    asked, name = f"trainer.server_rule={rule.name}", type(method).__name__
    if not server.plan.model.numel + server.plan.buffers.numel:
        raise ContractError(f"{asked} does nothing under method {name}, of which nothing travels; set it to mean")
    if not method.averages:
        raise ContractError(
            f"{asked} does nothing under method {name}, whose sites are not sent a mean of models; set it to mean"
        )
    if method.weighs and rule is not ServerRule.norm_clip:
        raise ContractError(
            f"{asked} ignores weights, by which alone method {name} differs from FedAvg; set it to mean or norm_clip, or "
            "run method=fedavg"
        )
    models = max(prod(method.download(server, site).model.shape[:-1]) for site in server.names)
    arriving = {len(participants.arrivals(round)) for round in range(1, options.rounds + 1)}
    if any(rules.has_effect(rule, options.corrupt, n // models) for n in arriving):
        return
    most, each = max(arriving), max(arriving) // models
    asked += f" with trainer.corrupt={options.corrupt} and at most {most} uploads a round"
    if models > 1:
        asked += f" for {models} models of method {name}, {each} a model"
    if rule is ServerRule.krum:
        raise ValueError(
            f"{asked}: Krum needs at least {rules.fewest_for_krum(options.corrupt, each)}; use more sites, a higher "
            "trainer.participation or a smaller trainer.corrupt"
        )
    clips = rule is ServerRule.norm_clip
    least = f"it needs at least {2 if clips else 3}"
    if rule is ServerRule.trimmed_mean and each > 2:
        least = f"trainer.corrupt={1 / each:.2g} trims one at each end"
    raise ValueError(
        f"{asked} {'shortens' if clips else 'leaves out'} no upload, so it would be the plain mean; {least}"
    )
