"""How much a method's own term weighs beside the task's loss: the norms of their gradients, compared at every local step.

    python -m fedsynth.benchmarks.contract.gradient_ratio fedprox feddyn OPTION=VALUE ...

measures it in runs of these options; those of the numbers that docstrings give are at the head of docs/catalogue.md. It prints
for each method the median over all steps from round 2 on, and the quartiles: some terms are 0 in round 1. A gradient is
taken by the parameters on which the term acts. A method without such a term has no row.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedsynth.feed import Batch
from fedsynth.registry import METHODS
from fedsynth.site import SiteState
from fedsynth.trainer import Trainer

from ..config.compose import composed, load_choices
from ..config.explain import explained
from ..config.overrides import apart
from ..config.schema import Run


class GradientRatios:
    """Watches the local steps of a trainer, which train as they would unwatched; `found` has (round, player, ratio) of each.

    In a step the task's losses are handed to the method as leaves without a graph: what then has a gradient by the parameters
    is the method's own term.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.found: list[tuple[int, str, float]] = []
        self._method = trainer.method
        self._step, self._objective = self._method.step, self._method.objective
        vars(self._method)["step"] = self._watched
        self._task: tuple[Tensor, Tensor] | None = None  # the leaf and the loss for which it stands

    def _leaves(self, *given: Any) -> Iterator[tuple[Any, Tensor]]:
        for player, loss in self._objective(*given):
            leaf = loss.detach().requires_grad_()
            self._task = leaf, loss
            yield player, leaf

    def _watched(self, site: SiteState, batch: Batch) -> Iterator[tuple[Any, Tensor]]:
        vars(self._method)["objective"] = self._leaves
        try:
            for player, loss in self._step(site, batch):
                if self._task is None:  # a net of the method's own
                    yield player, loss
                    continue
                (leaf, task), self._task = self._task, None
                if loss is not leaf:
                    self._compare(site, player, loss, task)
                yield player, loss + task - leaf
        finally:
            del vars(self._method)["objective"]

    def _compare(self, site: SiteState, player: str | tuple[str, ...], loss: Tensor, task: Tensor) -> None:
        names = (player,) if isinstance(player, str) else player
        parameters = [parameter for name in names for parameter in site.players[name]]
        own = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        acts = [(parameter, slope) for parameter, slope in zip(parameters, own, strict=True) if slope is not None]
        if not acts:
            return
        by = torch.autograd.grad(task, [parameter for parameter, _ in acts], retain_graph=True, allow_unused=True)
        norms = [
            torch.stack([slope.norm() for slope in slopes if slope is not None]).norm()
            for slopes in ([slope for _, slope in acts], by)
        ]
        self.found.append((site.round, names[0], float(norms[0] / norms[1])))


def ratios(trainer: Trainer) -> list[float]:
    """The ratios of all local steps from round 2 on."""
    watching = GradientRatios(trainer)
    for round in range(1, trainer.options.rounds + 1):
        trainer.round(round)
    return [ratio for round, _, ratio in watching.found if round > 1]


def main(words: Sequence[str]) -> None:
    """Measure the named methods, or all."""
    load_choices()
    torch.set_num_threads(1)
    names, overrides = apart(list(words))
    print(f"{'method':16}{'median':>10}{'quartiles':>22}{'steps':>8}")
    for name in names or METHODS.entries():
        with explained(f"{name}: "):
            run = Run.of(composed([f"method={name}", *overrides]))
        federation = run.scenario.federation(run.dataset, Path(run.results) / "cache")
        found = ratios(Trainer(run.method, run.network, federation, run.trainer, run.seed))
        if found:
            low, median, high = (f"{value:.2g}" for value in np.quantile(found, [0.25, 0.5, 0.75]))
            print(f"{name:16}{median:>10}{f'{low} to {high}':>22}{len(found):>8}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
