"""The server of a run. It has no data: it knows the roster, and of each site how many training slices there are."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from torch import nn

from ..exchange import Message
from ..federation import Roster
from ..method import Method
from ..runtime.options import ServerRule, TrainerOptions
from ..server import Server
from ..server.uploads import Uploads
from .outcome import RunState
from .participation import Participation
from .refusals import check_own_starts, check_server_rule
from .site_maker import SiteMaker
from .site_party import Answer


class ServerParty:
    """What the server does in a round: who takes part, what each site is sent, what becomes of the uploads, and whether the round
    is the best by validation.

    Attributes:
        server: What a method's server rule works on.
        participants: Says who takes part in a round.

    Raises ContractError or ValueError where the run is refused (refusals.py).
    """

    def __init__(
        self,
        method: Method,
        roster: Roster,
        maker: SiteMaker,
        samples: Mapping[str, int],
        options: TrainerOptions,
        seed: int,
    ) -> None:
        self._method, self._maker, self._options = method, maker, options
        self.participants = Participation(list(samples), options, roster.conditions, seed)
        held = {name: maker.held(name.split("+")) for name in samples}
        self.server = Server(maker.plan, samples, held, maker.build, options, seed)
        check_own_starts(method, self.server, options)
        check_server_rule(method, self.server, options, self.participants)

    def begin(self, round: int) -> None:
        """Begin a round. Where sites start from weights of their own, as in pFLSynth's released code
        (`trainer.common_start=false`), the server's first model is the mean of the starts of those whose uploads arrive, weighted
        as the method's own mean: so whatever it computes from the sites' mean minus its model is what they learnt. A site that
        first trains in a later round has what travels from the server, and the rest from its own draw."""
        if round == 1 and not self._options.common_start:
            self.meet({name: partial(self._maker.start, name.split("+")) for name in self.participants.arrivals(round)})

    def meet(self, starts: Mapping[str, Callable[[], nn.ModuleDict]]) -> None:
        """Make the server's model and buffers the mean of what these sites start from."""
        even, samples = self._method.equal_weights, self.server.samples
        self.server.start_from(starts, {name: 1.0 if even else float(samples[name]) for name in starts})

    def download(self, name: str) -> Message:
        """What a site is sent now; a newcomer is sent its welcome."""
        offer = self._method.download if name in self.server.names else self._method.welcome
        return offer(self.server, name)

    def aggregate(self, round: int, uploads: Uploads) -> bool:
        """The server's part of a round; whether too few uploads arrived for its rule, so that it stayed as it was or took the
        plain mean. Where none arrived, it stays as it was."""
        if uploads and self.server.has_enough(uploads):
            aggregate: Callable[..., object] = self._method.aggregate
            returned = aggregate(self.server, uploads)
            plan = self._maker.plan
            held = {"model": plan.model.numel, "buffers": plan.buffers.numel}
            vectors = {name: (getattr(self.server, name), length) for name, length in held.items()}
            self._maker.step.contract.check_server(returned, vectors)
        if too_few := self.server.too_few:
            rule = self._options.server_rule
            logging.getLogger(__name__).warning(
                "round %d: %s has too few uploads (%d arrived), so %s",
                round,
                rule.name,
                len(uploads),
                "the server keeps a model" if rule is ServerRule.krum else "it is the plain mean",
            )
        self.server.settle()
        return too_few

    def select(self, round: int, answers: Mapping[str, Answer], state: RunState) -> bool:
        """Whether the round is the best so far, by the sites' answers. Notes in `state` which is the best, whether the run
        diverged, and whether it ended below the floor: the score of copying the source, which training must beat."""
        psnr = float(np.mean([score for answer in answers.values() for score in answer["psnr"].values()]))
        floors = [score for answer in answers.values() for score in answer["floor"].values()]
        better = psnr > state.best_psnr
        if not math.isfinite(psnr):
            state.diverged = f"the validation score is not finite in round {round}"
        elif better:
            state.best_psnr, state.best_round = psnr, round
        if floors and psnr < (floor := float(np.mean(floors))):
            state.below_floor = f"validation PSNR ends at {psnr:.2f} dB, below copying the source ({floor:.2f} dB)"
        return better and not state.diverged
