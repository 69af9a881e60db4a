"""A generator of stages, each followed by a personalisation block if the generator reads the code."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .conditioning import Conditioning
from .network import Generator, Role, Stage


class StagedGenerator(Generator):
    """Holds the stages of an architecture and, if it reads the code, the mapper and a block for each of the first stages.

    A subclass writes `forward`, with `latent` and `through`.
    """

    def __init__(self, stages: Sequence[Stage], conditioning: Conditioning | None) -> None:
        super().__init__()
        self.roles = [stage.role for stage in stages]
        self.backbone = nn.ModuleList(stage.module for stage in stages)
        self.mapper = conditioning.mapper if conditioning else None
        self.personal = nn.ModuleList(conditioning.blocks if conditioning else ())

    def latent(self, code: Tensor) -> Tensor | None:
        """The latent `[B, L]` that the mapper makes of the code; None in a generator that does not read it."""
        return None if self.mapper is None else self.mapper(code)

    def through(self, k: int, latent: Tensor | None, *images: Tensor) -> Tensor:
        """The output of stage k, personalised."""
        image: Tensor = self.backbone[k](*images)
        return image if latent is None or k >= len(self.personal) else self.personal[k](image, latent)

    def stages(self) -> list[Stage]:
        stages = [] if self.mapper is None else [Stage(Role.conditioning, self.mapper)]
        for k, (role, module) in enumerate(zip(self.roles, self.backbone, strict=True)):
            stages.append(Stage(role, module))
            if k < len(self.personal):
                stages.append(Stage(Role.conditioning, self.personal[k]))
        return stages
