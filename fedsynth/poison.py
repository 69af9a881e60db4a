"""A corrupt site, for scenarios that try the server's robust rules."""

from __future__ import annotations

from torch import Tensor

from .exchange import Message

STRENGTH = 4.0  # sign flipping as Li et al. 2019 (RSA, AAAI) have it


def poisoned(message: Message, received: Tensor | None) -> Message:
    """The upload of a site that turns its change of the model round and sends STRENGTH times of it; the rest as it is."""
    assert received is not None, "a site uploads inside a round"
    if message.model.shape != received.shape:
        return message
    return Message(message | {"model": received - STRENGTH * (message.model - received)})
