"""FedPer shares a base under personal last layers (Arivazhagan et al., arXiv 1912.00818, 2019).

Paper: https://arxiv.org/abs/1912.00818
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from fedsynth.exchange import Place, places
from fedsynth.networks.network import Generator, Role

from .fedavg import FedAvg


@dataclass
class FedPer(FedAvg):
    """The last `head_stages` stages of the generator stay at the site, the base before them travels, and both train together.

    `head_stages`: 1, the layer that makes the output and the paper's smallest head; it tries up to four blocks, and 0 is FedAvg.
    Conditioning goes with the stage that it follows, the mapper with the first.

    What differs from the paper: nothing but what all methods share: `tests/support/oracles/averages.py` says it in plain
    torch, and `tests/methods/test_oracles.py` follows three rounds of both.

    What differs from the released code: the authors' is not known.
    """

    fewest: ClassVar[int] = 0  # the fewest stages that a head may have
    head_stages: int = 1  # stages of the generator, from the output, that stay at the site

    def __post_init__(self) -> None:
        if self.head_stages < self.fewest:
            raise ValueError(f"method.head_stages is {self.head_stages}; it must be at least {self.fewest}")

    @property
    def partial(self) -> bool:  # type: ignore[override]  # a constant in other methods
        return self.head_stages > 0

    def travels(self, place: Place) -> bool:
        if not super().travels(place):
            return False
        number, count = stage(place)
        return number <= count - self.head_stages

    def halves(self, nets: nn.ModuleDict) -> dict[str, Any]:
        """The players, with two in place of the generator: the head, which stays, and the body."""
        players = super().players(nets)
        shared = {id(tensor) for place, tensor in places(nets) if self.travels(place)}
        whole = players.pop("generator")
        players["head"] = [parameter for parameter in whole if id(parameter) not in shared]
        players["body"] = [parameter for parameter in whole if id(parameter) in shared]
        return players


def stage(place: Place) -> tuple[int, int]:
    """The number of a generator's stage, from 1 at the input, and how many there are, conditioning not counted."""
    generator = (*place.ancestors, place.owner)[0]
    assert isinstance(generator, Generator)
    count = sum(role is not Role.conditioning for role, _ in generator.stages())
    return 1 + round(place.depth * (count - 1)), count
