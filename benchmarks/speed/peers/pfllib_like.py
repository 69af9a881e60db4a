"""A loop with the structure of PFLlib (Zhang et al., JMLR 2025; clientavg.py and serverbase.py of its repository), as a
worker: `python -m fedsynth.benchmarks.speed.peers.pfllib_like`.

What it has of PFLlib: client objects with a deep copy of the model and an optimiser that lasts; a `DataLoader` made anew
each round, in the process itself; parameters replaced one by one by clones on the way down; the global model made of a
deep copy that is zeroed and added to, parameter by parameter; weights by training samples. PFLlib is no package, so this
is written from its structure. It leaves out what would only slow it: PFLlib reads a client's data from disk every round.

A round: all clients receive, train and are averaged, as in ours.
"""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fedsynth.benchmarks.speed.peers.job import Bench, Job, mean, stacked
from fedsynth.benchmarks.speed.peers.turns import Turns


class Client:
    def __init__(self, job: Job, name: str, model: nn.Module) -> None:
        self.model = deepcopy(model)
        self.batch_size, self.device = job.batch, job.device
        self.bench = Bench(job, name, self.model)
        self.train_samples = self.bench.feed.samples

    def set_parameters(self, model: nn.Module) -> None:
        for received, own in zip(model.parameters(), self.model.parameters(), strict=True):
            own.data = received.data.clone()

    def train(self, round: int) -> list[Tensor]:
        tasks, slices = stacked(self.bench.batches(round))
        self.model.train()
        losses = []
        for task, batch in zip(tasks, DataLoader(TensorDataset(*slices), self.batch_size), strict=True):
            source, target, code = (part.to(self.device) for part in batch)
            losses.append(self.bench.step(task, source, target, code))
        return losses


class Server:
    def __init__(self, job: Job) -> None:
        self.global_model: nn.Module = job.nets(job.names[0])["generator"]
        self.clients = [Client(job, name, self.global_model) for name in job.names]

    def round(self, round: int) -> float:
        for client in self.clients:
            client.set_parameters(self.global_model)
        losses = [loss for client in self.clients for loss in client.train(round)]
        self.aggregate()
        return mean(losses)

    def aggregate(self) -> None:
        total = sum(client.train_samples for client in self.clients)
        self.global_model = deepcopy(self.clients[0].model)
        for parameter in self.global_model.parameters():
            parameter.data.zero_()
        for client in self.clients:
            share = client.train_samples / total
            for parameter, uploaded in zip(self.global_model.parameters(), client.model.parameters(), strict=True):
                parameter.data += uploaded.data.clone() * share


def main() -> None:
    job = Job.chosen(Job.parser(__doc__).parse_args())
    server, turns = Server(job), Turns(job, "torch")
    while turns.wait():
        turns.done(server.round(turns.round))


if __name__ == "__main__":
    main()
