"""fluke (package fluke-fl), as a worker: `python -m fedsynth.benchmarks.speed.peers.fluke`, by the Python of .peers/fluke.

`CentralizedFL` with fluke's own server and channel, and a client whose `fit` keeps the shape of fluke's, with the
adversarial step in place of the classifier's. A round, in memory and without evaluation: a copy of the model to every
client, local training on slices of tensors that lie on the device, a copy of each model back, their mean by samples.
That is what `ours` does in its round.

The engine runs once, for as many rounds as are asked for: an observer of its rounds starts and stops the clocks.
"""

from __future__ import annotations

import torch

try:
    import torchvision  # which fluke imports for its image data sets
except RuntimeError:  # PyPI's build cannot load its operators beside a torch without CUDA; none of them is called here
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401  # as above, now that its operators have names

from fluke import FlukeENV
from fluke.algorithms import CentralizedFL
from fluke.client import Client
from fluke.config import OptimizerConfigurator
from fluke.data import FastDataLoader
from fluke.server import EarlyStopping, Server
from torch import nn

from fedsynth.benchmarks.speed.peers.job import ROUNDS, Bench, Job, stacked
from fedsynth.benchmarks.speed.peers.turns import Turns


class Site(Client):
    """A client that keeps its model, its discriminators and the state of all optimisers, as fluke's clients do."""

    def __init__(self, job: Job, index: int, optimizer: OptimizerConfigurator) -> None:
        super().__init__(index, None, None, optimizer, nn.L1Loss(), local_epochs=1)
        self.job, self.loss = job, 0.0
        self.bench: Bench | None = None  # until there is a model

    def fit(self, override_local_epochs: int = 0) -> float:
        self.model.train()
        self.model.to(self.device)
        if self.bench is None:
            self.bench = Bench(self.job, self.job.names[self.index], self.model)
        tasks, slices = stacked(self.bench.batches(self._last_round + 1))
        self.train_set = FastDataLoader(*slices, num_labels=0, batch_size=self.job.batch, skip_singleton=False)
        running_loss = 0.0
        for task, batch in zip(tasks, self.train_set, strict=True):
            source, target, code = (part.to(self.device) for part in batch)
            running_loss += self.bench.step(task, source, target, code).item()
        self.model.cpu()
        self.loss = running_loss / len(tasks)
        return self.loss


class Clock:
    """Observes the algorithm: a round waits until it is asked for."""

    def __init__(self, turns: Turns, sites: list[Site]) -> None:
        self.turns, self.sites = turns, sites

    def start_round(self, round: int, global_model: nn.Module) -> None:
        if not self.turns.wait():
            raise EarlyStopping(round)

    def end_round(self, round: int) -> None:
        self.turns.done(sum(site.loss for site in self.sites) / len(self.sites))


def main() -> None:
    job = Job.chosen(Job.parser(__doc__).parse_args())
    FlukeENV().set_device(job.device)
    optimizer = OptimizerConfigurator({"name": "Adam", "lr": 2e-4, "betas": (0.5, 0.999)})
    sites = [Site(job, index, optimizer) for index in range(job.sites)]
    server = Server(job.nets(job.names[0])["generator"], None, sites, weighted=True)
    algorithm = CentralizedFL(job.sites, None, {}, clients=sites, server=server)
    algorithm.attach(Clock(Turns(job, "fluke-fl"), sites))
    algorithm.run(ROUNDS, 1.0)


if __name__ == "__main__":
    main()
