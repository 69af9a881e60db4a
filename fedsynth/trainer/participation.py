"""Who takes part in a round: a share of the sites that have joined, without those that fail; who does only a part of the steps,
whose upload is lost, and who sends a poisoned one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .. import streams
from ..exchange import ContractError, Message
from ..federation import Conditions, FederationError, count_of, exact
from ..runtime.options import TrainerOptions


class Participation:
    """Who takes part, which is the same for every method. Each site is drawn from streams of its own.

    A group of sites that train as one joins with its first member, is absent where all members are, and fails, straggles or loses
    its upload as one.

    Raises:
        FederationError: A site is absent in a round that the run does not have, or all that were drawn for a round are.
    """

    def __init__(self, names: Sequence[str], options: TrainerOptions, conditions: Conditions, seed: int) -> None:
        self._names, self._options, self._conditions, self._seed = sorted(names), options, conditions, seed
        self._check_absent()

    def __call__(self, round: int) -> list[str]:
        """The sites that train in a round, sorted: a share `options.participation` of those that have joined, without those that
        fail or are absent; at least one."""
        drawn = self._drawn(round)
        here = [name for name in drawn if not self._absent(name, round)]
        return self._spared(here, "failure", self._conditions.fail, round)

    def _drawn(self, round: int) -> list[str]:
        joined = [name for name in self._names if round - 1 >= exact(self._joins(name)) * self._options.rounds]
        count = max(1, count_of(self._options.participation, len(joined)))
        if count < len(joined):
            joined.sort(key=lambda name: streams.key(self._seed, name, "participation", round))
        return joined[:count]

    def arrivals(self, round: int) -> list[str]:
        """Those of them whose uploads arrive, sorted; at least one."""
        return self._spared(self(round), "loss", self._conditions.lose, round)

    def planned(self, name: str, full: int) -> int:
        """How many local steps a site of `full` steps is to do in a round.

        Where all sites train as one, nobody can be absent: that group does as large a share of its steps instead, so that it
        trains as much as the sites that take part would together.
        """
        alone = "+" in name and len(self._names) == 1
        return max(1, count_of(self._options.participation, full)) if alone else full

    def steps(self, name: str, full: int, round: int) -> int:
        """How many it does in this round: fewer where it straggles, at least one."""
        planned = self.planned(name, full)
        if self._luck(name, "straggling", round) >= self._conditions.straggle:
            return planned
        return max(1, int(planned * self._luck(name, "straggler's share", round)))

    def _spared(self, names: Sequence[str], what: str, share: float, round: int) -> list[str]:
        luck = {name: self._luck(name, what, round) for name in names}
        return sorted([name for name in names if luck[name] >= share] or [max(luck, key=luck.__getitem__)])

    def _absent(self, name: str, round: int) -> bool:
        return all(round in self._conditions.absent.get(member, ()) for member in name.split("+"))

    def _check_absent(self) -> None:
        for site, rounds in self._conditions.absent.items():
            for round in rounds:
                if round > self._options.rounds:
                    raise FederationError(
                        f"scenario.absent names round {round} of site {site}, and the run has {self._options.rounds}; "
                        "leave it out"
                    )
                if all(self._absent(name, round) for name in self._drawn(round)):
                    raise FederationError(
                        f"scenario.absent leaves nobody in round {round}: {' and '.join(sorted(self._drawn(round)))} would train "
                        "in it; let one be there"
                    )

    def _joins(self, name: str) -> float:
        return min(self._conditions.joins.get(member, 0.0) for member in name.split("+"))

    def _luck(self, name: str, what: str, round: int) -> float:
        return float(streams.host(self._seed, name, what, round).uniform())


STRENGTH = 4.0  # of sign flipping, as in Li et al. 2019 (RSA, AAAI)


def poisoned(message: Message, received: Tensor | None, who: str) -> Message:
    """The upload of a site that reverses its change of the model and makes it STRENGTH times as large; the rest as it is.

    Raises:
        ContractError: The upload has another form than what the site received, so that nothing can be reversed.
    """
    assert received is not None, "a site uploads inside a round"
    if message.model.shape != received.shape:
        raise ContractError(
            f"{who}: its upload has a model of shape {tuple(message.model.shape)}, and it received {tuple(received.shape)}; so a "
            "poisoned site cannot reverse its change: set scenario.poisoned=0"
        )
    return Message(message | {"model": received - STRENGTH * (message.model - received)})
