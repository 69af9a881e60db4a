"""Who takes part in a round: a share of the sites that have joined, less those that fail; and who does only a part of it."""

from __future__ import annotations

from collections.abc import Sequence

from . import streams
from .federation import Conditions
from .options import TrainerOptions


class Attendance:
    """For every round the same whatever the method; each site has streams of its own.

    A group of sites that train as one joins with its first member and fails or straggles as one.
    """

    def __init__(self, names: Sequence[str], options: TrainerOptions, conditions: Conditions, seed: int) -> None:
        self._names, self._options, self._conditions, self._seed = sorted(names), options, conditions, seed

    def __call__(self, round: int) -> list[str]:
        """The sites whose uploads arrive, sorted: `options.participation` of those that have joined, less those that fail; at
        least one."""
        joined = [name for name in self._names if round - 1 >= self._joins(name) * self._options.rounds]
        count = max(1, int(self._options.participation * len(joined) + 0.5))
        if count < len(joined):
            joined.sort(key=lambda name: streams.key(self._seed, name, "participation", round))
        luck = {name: self._luck(name, "failure", round) for name in joined[:count]}
        arrived = [name for name, drawn in luck.items() if drawn >= self._conditions.fail]
        return sorted(arrived or [max(luck, key=luck.__getitem__)])

    def steps(self, name: str, full: int, round: int) -> int:
        """The local steps of the round that a site does of `full`; at least one."""
        if self._luck(name, "straggling", round) >= self._conditions.straggle:
            return full
        return max(1, int(full * self._luck(name, "straggler's share", round)))

    def _joins(self, name: str) -> float:
        return min(self._conditions.joins.get(member, 0.0) for member in name.split("+"))

    def _luck(self, name: str, what: str, round: int) -> float:
        return float(streams.host(self._seed, name, what, round).uniform())
