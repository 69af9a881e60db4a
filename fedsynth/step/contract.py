"""What a method has to give, such as a step's pairs of player and loss, and what is wrong with what it gives instead."""

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
STALE = {  # a part of torch's message -> what the loss did
    "modified by an inplace operation": "needs a tensor that was changed in place after the loss was computed; an optimiser "
    "changes its player at each yield, so compute a loss after the yield before it, and change no tensor in place that a loss "
    "still needs",
    "backward through the graph a second time": "uses a forward pass that an earlier yield has used up; compute it anew after "
    "that yield, or detach what both use",
}
ASTRAY = {  # a part of an error's message -> what the step did
    "a leaf Variable that requires grad is being used in an in-place operation": "changes a parameter in place; the engine moves "
    "it by the loss that is yielded for its player",
    "iteration over a 0-d tensor": "goes through a loss as if it were pairs; what `objective` gives are pairs too",
    "'NoneType' object is not iterable": "goes through None as if it were pairs; `objective` has to yield too",
}


class MethodContract:
    """What one method may yield and give. Every error names the method and is a ContractError."""

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
    def explained(self, what: str, known: Mapping[str, str]) -> Iterator[None]:
        """Inside, an error that is known by a part of its message is said in the method's words; `what` did it."""
        try:
            yield
        except (RuntimeError, TypeError) as error:
            for part, did in known.items():
                if part in str(error):
                    raise self._error(f"{what} {did}; {HOW}. The error was: {error}") from error
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

    def checked_images(self, images: Any, target: Tensor) -> Tensor:
        """What `synthesise` gives for a batch has the form of its target, and not one that can be compared with it by chance."""
        if not isinstance(images, Tensor) or images.shape != target.shape:
            found = f"shape {tuple(images.shape)}" if isinstance(images, Tensor) else repr(images)
            raise self._error(f"synthesise gives {found} for a batch whose target has shape {tuple(target.shape)}")
        return images

    def check_server(self, returned: object, vectors: Mapping[str, tuple[Any, int]]) -> None:
        """`aggregate` returns nothing and leaves at the server vectors as long as what travels."""
        if returned is not None:
            raise self._error(
                f"aggregate returns a {type(returned).__name__}; set server.model and server.buffers instead"
            )
        for name, (vector, length) in vectors.items():
            if not isinstance(vector, Tensor) or vector.shape != (length,):
                found = f"shape {tuple(vector.shape)}" if isinstance(vector, Tensor) else repr(vector)
                raise self._error(f"aggregate leaves server.{name} with {found}; what travels has shape {(length,)}")

    def _error(self, text: str) -> ContractError:
        return ContractError(f"method {self.method}: {text}")
