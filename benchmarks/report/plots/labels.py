"""Labels that fit where they stand."""

from __future__ import annotations

import textwrap

from ...tables.metric import Metric

LETTER = 0.055  # inches, the width of a letter at 6.5 points


def wrap_label(text: str, width: float) -> str:
    """The label in lines of at most `width` inches. A line ends at a space or after a slash; a longer word is left whole."""
    letters = max(1, int(width / LETTER))
    parts = textwrap.wrap(text.replace("/", "/ "), letters, break_long_words=False, break_on_hyphens=False)
    return text if len(text) <= letters else "\n".join(part.replace("/ ", "/") for part in parts)


def fitting_size(text: str, width: float, size: float) -> float:
    """The font size, at most `size` points, at which the longest line is no wider than `width` inches."""
    longest = max(map(len, text.split("\n")))
    return min(size, size * width / (LETTER * longest)) if longest else size


def with_unit(text: str, metric: Metric) -> str:
    """A text with the metric's unit, as at an axis."""
    return f"{text},{metric.unit}" if metric.unit else text
