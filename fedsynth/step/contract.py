"""What a method's step has to yield, (player, loss), and what is wrong with what it yields instead."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..exchange import ContractError

Player = str | tuple[str, ...]  # who moves by a loss: one player, or several at once
Pairs = Generator[tuple[Player, Tensor], None, None]

HOW = "write `yield (player, loss)` for each loss of a step"
STALE = {  # a part of torch's message -> what the method did
    "modified by an inplace operation": "needs a tensor that was changed in place after the loss was computed; an optimiser "
    "changes its player at each yield, so compute a loss after the yield before it, and change no tensor in place that a loss "
    "still needs",
    "backward through the graph a second time": "uses a forward pass that an earlier yield has used up; compute it anew after "
    "that yield, or detach what both use",
}


class StepContract:
    """What the steps of one method may yield. Every error names the method and is a ContractError."""

    def __init__(self, method: str) -> None:
        self.method = method

    def check_step(self, pairs: Any) -> None:
        """What a step gives is a generator; a function that returns its loss is none."""
        if not isinstance(pairs, Generator):
            found = "a tensor" if isinstance(pairs, Tensor) else "nothing" if pairs is None else repr(pairs)
            raise self._error(f"its step returns {found} and yields nothing; {HOW}")

    def check_contexts(self, pairs: Pairs, device: str) -> None:
        """No context such as no_grad is open at a yield."""
        if not torch.is_grad_enabled() or torch.is_autocast_enabled(device):
            pairs.close()  # which closes the context
            raise self._error(
                "a context (no_grad or autocast) is still open at a yield of its step; close it before the yield, else the "
                "backward pass runs inside it"
            )

    def checked_pair(self, pair: Any, players: Mapping[str, list[Tensor]]) -> tuple[tuple[str, ...], Tensor]:
        """The names of the players that a yield moves, and their loss."""
        if not isinstance(pair, tuple) or len(pair) != 2:
            found = f"{len(pair)} things" if isinstance(pair, tuple) else f"one {type(pair).__name__}"
            raise self._error(f"its step yields {found}, where a player and its loss belong; {HOW}")
        names, loss = pair
        chosen = (names,) if isinstance(names, str) else names
        if not (isinstance(chosen, tuple) and chosen and all(isinstance(name, str) for name in chosen)):
            raise self._error(
                f"its step yields a {type(names).__name__} where a player's name belongs, or a tuple of names; {HOW}"
            )
        if unknown := [name for name in chosen if name not in players]:
            raise self._error(f"its step yields the player {unknown[0]!r}; its players are {', '.join(players)}")
        if not isinstance(loss, Tensor) or loss.dim() or not loss.requires_grad:
            found = f"of shape {tuple(loss.shape)}, {loss.requires_grad=}" if isinstance(loss, Tensor) else repr(loss)
            raise self._error(
                f"the loss of {'+'.join(chosen)} must be a scalar tensor with a gradient; it is {found}; {HOW}"
            )
        return chosen, loss

    @contextmanager
    def explained(self, chosen: Sequence[str]) -> Iterator[None]:
        """Inside, what torch says of a graph that cannot be followed back is said in the method's words."""
        try:
            yield
        except RuntimeError as error:
            for part, what in STALE.items():
                if part in str(error):
                    raise self._error(f"the loss of {'+'.join(chosen)} {what}; {HOW}. torch says: {error}") from error
            raise

    def check_gradients(self, chosen: Sequence[str], parameters: Sequence[Tensor]) -> None:
        """A loss has a gradient by some parameter of its player."""
        if all(parameter.grad is None for parameter in parameters):
            raise self._error(
                f"the loss of {'+'.join(chosen)} depends on none of its parameters, which could never learn; was something "
                "detached?"
            )

    def check_trained(self, roles: Collection[str], where: str) -> None:
        """Some yield moved a player that is no discriminator."""
        if "generator" not in roles:
            found = "no loss but the discriminators'" if roles else "no loss"
            raise self._error(f"{where} yielded {found}, so nothing that is served was trained; {HOW}")

    def _error(self, text: str) -> ContractError:
        return ContractError(f"method {self.method}: {text}")
