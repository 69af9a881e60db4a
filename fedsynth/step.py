"""How one local step executes: the pairs (player, loss) that a method yields become optimiser updates."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from .exchange import ContractError
from .options import Precision, TrainerOptions

Player = str | tuple[str, ...]  # who moves by a loss: one player, or several at once
Pairs = Generator[tuple[Player, Tensor], None, None]


def set_precision(options: TrainerOptions) -> None:
    """Put the process into the arithmetic that the run asked for."""
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(options.deterministic)
    full = options.precision is Precision.fp32
    torch.backends.cuda.matmul.allow_tf32 = not full
    torch.backends.cudnn.allow_tf32 = not full
    torch.backends.cudnn.benchmark = not options.deterministic


class Step:
    """Runs local steps. Counts backward passes and sums losses on the device; nothing here waits for it."""

    def __init__(self, method: str, options: TrainerOptions, device: torch.device) -> None:
        self.method, self.clip, self.device = method, options.clip, device
        self.autocast: Callable[[], AbstractContextManager[object]] = nullcontext
        if options.precision is Precision.bf16:
            self.autocast = lambda: torch.autocast(device.type, torch.bfloat16)
        self.backwards = 0

    def __call__(
        self,
        pairs: Pairs,
        players: Mapping[str, list[Tensor]],
        optimizers: Mapping[str, torch.optim.Optimizer],
        losses: dict[str, Tensor] | None = None,
    ) -> None:
        """Drive one step to its end.

        Autocast is left and entered again around every `next`, because it caches the casts of weights until it ends. A
        player's gradients are None, not zero, before its loss: Adam would move it by momentum otherwise.
        """
        while True:
            with self.autocast():
                pair = next(pairs, None)
            if not torch.is_grad_enabled() or torch.is_autocast_enabled(self.device.type):
                pairs.close()  # which closes the context
                raise ContractError(
                    f"method {self.method}: a context (no_grad or autocast) is still open at a yield of its step; close it "
                    "before the yield, else the backward pass runs inside it"
                )
            if pair is None:
                return
            names, loss = pair
            chosen = (names,) if isinstance(names, str) else names
            try:
                parameters = [parameter for name in chosen for parameter in players[name]]
            except KeyError as error:
                raise ContractError(
                    f"method {self.method}: its step yields the player {error.args[0]!r}; its players are {', '.join(players)}"
                ) from None
            if not isinstance(loss, Tensor) or loss.dim() or not loss.requires_grad:
                found = (
                    f"of shape {tuple(loss.shape)}, {loss.requires_grad=}" if isinstance(loss, Tensor) else repr(loss)
                )
                raise ContractError(
                    f"method {self.method}: the loss of {'+'.join(chosen)} must be a scalar tensor with a gradient; it is "
                    f"{found}"
                )
            for parameter in parameters:
                parameter.grad = None
            loss.backward(inputs=parameters)
            if all(parameter.grad is None for parameter in parameters):
                raise ContractError(
                    f"method {self.method}: the loss of {'+'.join(chosen)} depends on none of its parameters, which could "
                    "never learn; was something detached?"
                )
            self.backwards += 1
            if self.clip:
                torch.nn.utils.clip_grad_norm_(parameters, self.clip)
            for name in chosen:
                optimizers[name].step()
            if losses is not None:
                role = "discriminator" if "discriminators" in chosen[0] else "generator"
                losses[role] = losses[role] + loss.detach() if role in losses else loss.detach()
