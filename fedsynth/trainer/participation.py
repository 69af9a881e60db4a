"""Who takes part in a round: a share of the sites that have joined, without those that fail; who does only a part of the steps,
and who sends a poisoned upload."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .. import streams
from ..exchange import Message
from ..federation import Conditions, count_of, exact
from ..runtime.options import TrainerOptions


class Participation:
    """Who takes part, which is the same for every method. Each site is drawn from streams of its own.

    A group of sites that train as one joins with its first member, and fails or straggles as one.
    """

    def __init__(self, names: Sequence[str], options: TrainerOptions, conditions: Conditions, seed: int) -> None:
        self._names, self._options, self._conditions, self._seed = sorted(names), options, conditions, seed

    def __call__(self, round: int) -> list[str]:
        """The sites whose uploads arrive in a round, sorted: a share `options.participation` of those that have joined, without
        those that fail; at least one."""
        joined = [name for name in self._names if round - 1 >= exact(self._joins(name)) * self._options.rounds]
        count = max(1, count_of(self._options.participation, len(joined)))
        if count < len(joined):
            joined.sort(key=lambda name: streams.key(self._seed, name, "participation", round))
        luck = {name: self._luck(name, "failure", round) for name in joined[:count]}
        arrived = [name for name, drawn in luck.items() if drawn >= self._conditions.fail]
        return sorted(arrived or [max(luck, key=luck.__getitem__)])

    def steps(self, name: str, full: int, round: int) -> int:
        """How many of the `full` number of local steps a site does in a round; at least one."""
        if self._luck(name, "straggling", round) >= self._conditions.straggle:
            return full
        return max(1, int(full * self._luck(name, "straggler's share", round)))

    def _joins(self, name: str) -> float:
        return min(self._conditions.joins.get(member, 0.0) for member in name.split("+"))

    def _luck(self, name: str, what: str, round: int) -> float:
        return float(streams.host(self._seed, name, what, round).uniform())


STRENGTH = 4.0  # of sign flipping, as in Li et al. 2019 (RSA, AAAI)


def poisoned(message: Message, received: Tensor | None) -> Message:
    """The upload of a site that reverses its change of the model and makes it STRENGTH times as large; the rest as it is."""
    assert received is not None, "a site uploads inside a round"
    if message.model.shape != received.shape:
        return message
    return Message(message | {"model": received - STRENGTH * (message.model - received)})
