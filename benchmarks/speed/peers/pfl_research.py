"""pfl-research (Granqvist et al., NeurIPS 2024; package pfl), as a worker:
`python -m fedsynth.benchmarks.speed.peers.pfl_research`, by the Python of .peers/pfl_research.

`SimulatedBackend` and `FederatedAveraging` with a training step of its own; the discriminators and the optimisers are a
user's state in pfl's in-memory storage. A round: for each site the server's parameters are kept, local training on slices
of tensors that lie on the device, the difference to what was kept, and the parameters put back; the differences' mean by
samples; the central optimiser's step, SGD of rate 1, which adds it. No evaluation. pfl trains one model in place for all
users, where `ours` has a copy a site.

The engine runs once, for as many rounds as are asked for: a callback of its iterations starts and stops the clocks.
"""

from __future__ import annotations

import os
from typing import Any

from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.data.sampling import MinimizeReuseUserSampler
from pfl.data.user_state import InMemoryUserStateStorage
from pfl.hyperparam.base import NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from torch import Tensor, nn, optim

from fedsynth.benchmarks.speed.peers.job import ROUNDS, Bench, Job, mean, stacked
from fedsynth.benchmarks.speed.peers.turns import Turns


def step(
    model: nn.Module, optimizer: Any, batch: list[Tensor], kwargs: dict[str, Any], arguments: Any, **given: Any
) -> None:
    """pfl's `train_step_fn`. The optimiser that pfl hands over is new each round; the bench's lasts, as in ours."""
    given["losses"].append(given["bench"].step(next(kwargs["tasks"]), *batch))


class AdversarialAveraging(FederatedAveraging):
    def __init__(self, storage: InMemoryUserStateStorage) -> None:
        super().__init__()
        self.storage = storage
        self.losses: list[Tensor] = []

    def train_one_user(self, initial_model_state: Any, model: Any, user_dataset: Any, central_context: Any) -> Any:
        bench = self.storage.load_state(user_dataset.user_id)
        model.pytorch_model.train()
        model.do_multiple_epochs_of(
            user_dataset, central_context.model_train_params, step, bench=bench, losses=self.losses
        )
        self.storage.save_state(bench, user_dataset.user_id)
        return model.get_model_difference(initial_model_state), Metrics()


class Clock(TrainingProcessCallback):
    """A round waits until it is asked for."""

    def __init__(self, turns: Turns, losses: list[Tensor]) -> None:
        self.turns, self.losses = turns, losses

    def on_train_begin(self, *, model: PyTorchModel) -> Metrics:
        self.turns.wait()
        return Metrics()

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        self.turns.done(mean(self.losses))
        self.losses.clear()
        return not self.turns.wait(), Metrics()


def main() -> None:
    job = Job.chosen(Job.parser(__doc__).parse_args())
    os.environ["PFL_PYTORCH_DEVICE"] = job.device
    turns, storage = Turns(job, "pfl"), InMemoryUserStateStorage()
    generator: Any = job.nets(job.names[0])["generator"]
    generator.loss = None  # pfl wants it to be there; only its own training step would call it
    generator.metrics = lambda *batch: {
        "slices": Weighted.from_unweighted(len(batch[0]))
    }  # called in the first round only
    for name in job.names:
        storage.save_state(Bench(job, name, generator), name)

    def dataset(name: str) -> PyTorchTensorDataset:
        tasks, slices = stacked(storage.load_state(name).batches(turns.round))
        return PyTorchTensorDataset(slices, user_id=name, train_kwargs={"tasks": iter(tasks)})

    users = FederatedDataset(dataset, MinimizeReuseUserSampler(job.names))
    algorithm = AdversarialAveraging(storage)
    algorithm.run(
        NNAlgorithmParams(ROUNDS, ROUNDS, job.sites, None),
        SimulatedBackend(users, users, [WeightByDatapoints()]),
        PyTorchModel(generator, optim.Adam, optim.SGD(generator.parameters(), lr=1.0)),
        NNTrainHyperParams(local_batch_size=job.batch, local_num_epochs=1, local_learning_rate=2e-4),
        callbacks=[Clock(turns, algorithm.losses)],
        send_metrics_to_platform=False,
    )


if __name__ == "__main__":
    main()
