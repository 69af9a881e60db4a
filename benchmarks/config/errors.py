"""What is wrong with a command, said with the nearest names. Without Hydra, which the command line need not load for it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

PUBLISHED = "of_"  # network=of_<method> is the network that the method was published with


class OptionError(ValueError):
    """A command that cannot be run: an option that does not exist, a value that it cannot have, or data that do not fit."""


def spelling_hint(text: str, choices: Iterable[str], else_all: str) -> str:
    """The choices that are spelt like the text, or all of them."""
    choices = list(choices)
    near = get_close_matches(text, choices, cutoff=0.5)
    return f"the nearest: {', '.join(near)}" if near else f"{else_all}: {', '.join(choices)}" if choices else ""
