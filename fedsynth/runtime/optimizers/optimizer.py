"""What moves a player: the contract of an optimiser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass
class Optimizer(ABC):
    """What moves the players of a run: a dataclass whose fields are its options, which makes torch's optimisers.

    A site keeps the optimiser's tensors from round to round, and sites take turns in one optimiser: what a parameter has there
    begins as zeros, whichever torch class it is (`check`).

    Example:
        >>> import torch
        >>> from torch import nn, optim
        >>> @dataclass
        ... class RMSprop(Optimizer):
        ...     alpha: float = 0.99  # the rate of decay of the squared gradients' mean
        ...
        ...     def make(self, parameters, lr):
        ...         return optim.RMSprop(parameters, lr, self.alpha, capturable=not isinstance(lr, float))
        >>> RMSprop().make([nn.Parameter(torch.ones(2))], 1e-3).defaults["alpha"]
        0.99
    """

    @abstractmethod
    def make(self, parameters: list[Any], lr: float | Tensor) -> torch.optim.Optimizer:
        """torch's optimiser of these parameters or parameter groups.

        Args:
            parameters: Of one player.
            lr: The learning rate. On a GPU it is a tensor, and the step must be one that a CUDA graph can hold (`capturable`).
        """

    def check(self) -> None:
        """Try the optimiser on two numbers.

        Raises:
            ValueError: Its state is not made of tensors that begin as zeros: a site's next turn would not go on from its last.
        """
        import torch  # not above: who reads the options of a record needs none of it

        start = torch.tensor([1.0, -2.0])

        def moved(made: torch.optim.Optimizer | None) -> tuple[torch.optim.Optimizer, Tensor]:
            made = made or self.make([torch.nn.Parameter(start.clone())], 0.1)
            parameter = made.param_groups[0]["params"][0]
            parameter.data.copy_(start)
            parameter.grad = torch.tensor([0.5, 0.25])
            made.step()
            return made, parameter.detach().clone()

        made, first = moved(None)
        for entry in deepcopy(made.state_dict()["state"]).values():
            for key, value in entry.items():
                if not isinstance(value, torch.Tensor):
                    raise ValueError(
                        f"{self}: its state {key!r} is {value!r}; it must be a tensor to be kept with the site"
                    )
        for entry in made.state.values():
            for value in entry.values():
                value.zero_()
        if not torch.equal(moved(made)[1], first):
            names = sorted({key for entry in made.state.values() for key in entry})
            raise ValueError(
                f"{self}: its state ({', '.join(names)}) does not begin as zeros, so a site's first step would depend on who had "
                "its place before; let `make` return an optimiser whose state does"
            )
