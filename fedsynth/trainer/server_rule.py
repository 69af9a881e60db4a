"""Robust server rules that could do nothing, which are refused before a run."""

from __future__ import annotations

from ..exchange import ContractError, Plan
from ..method import Method
from ..runtime.options import ServerRule, TrainerOptions
from ..server import rules
from .participation import Participation


def check_server_rule(method: Method, plan: Plan, options: TrainerOptions, participants: Participation) -> None:
    """Check the server rule of a run, of which is known whose uploads arrive in which round.

    Raises:
        ContractError: The method would not be touched by a robust rule.
        ValueError: No round has enough uploads for the rule to withstand anything.
    """
    if (rule := options.server_rule) is ServerRule.mean:
        return
    asked, name = f"trainer.server_rule={rule.name}", type(method).__name__
    if not plan.model.numel + plan.buffers.numel:
        raise ContractError(f"{asked} does nothing under method {name}, of which nothing travels; set it to mean")
    if not method.averages:
        raise ContractError(
            f"{asked} does nothing under method {name}, whose sites are not sent a mean of models; set it to mean"
        )
    arriving = {len(participants.arrivals(round)) for round in range(1, options.rounds + 1)}
    most = max(arriving)
    asked += f" with trainer.corrupt={options.corrupt} and at most {most} uploads a round"
    if rule is ServerRule.krum and not any(n >= rules.fewest_for_krum(options.corrupt, n) for n in arriving):
        raise ValueError(
            f"{asked}: Krum needs at least {rules.fewest_for_krum(options.corrupt, most)}; use more sites, a higher "
            "trainer.participation or a smaller trainer.corrupt"
        )
    share = 0.5 if rule is ServerRule.median else options.corrupt
    if rule in (ServerRule.median, ServerRule.trimmed_mean) and not any(rules.trimmed(share, n) for n in arriving):
        least = f"trainer.corrupt={1 / most:.2g} trims one at each end" if most > 2 else "it needs at least 3"
        raise ValueError(f"{asked} leaves out no upload, so it would be the plain mean; {least}")
