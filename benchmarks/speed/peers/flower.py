"""Flower (package flwr, its Message API), as a worker: `python -m fedsynth.benchmarks.speed.peers.flower`, by the Python of
.peers/flower.

A `ServerApp` and a `ClientApp` in Flower's simulation runtime (`run_simulation`, whose only backend is Ray) with its own
`FedAvg`. As many clients run at a time as there are threads for: one with `--threads 1`. A round is one
`FedAvg.start(num_rounds=1)` in the server, inside one simulation that lasts: messages with the model to every client,
local training with a `DataLoader`, replies with the model, the mean by samples; client-side evaluation is off. A client
keeps its discriminators and the moments of Adam in `Context.state`, as Flower has it, since any process may run any
client; nets and slices stay in the process. `cpu_seconds` are those of all of Ray's processes.

Messages are passed by polling: the server and the runtime each look for them every 0.1 s (`InMemoryGrid.pull_interval`
and `add_messages_to_queue` of flwr 1.42), which the wall time of a short round shows.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from functools import cache

os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}

import psutil
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch.utils.data import DataLoader, TensorDataset

from fedsynth.benchmarks.speed.peers.job import Bench, Job, mean, stacked
from fedsynth.benchmarks.speed.peers.turns import Turns

client = ClientApp()


@cache
def bench(text: str, place: int) -> Bench:
    """The nets and slices of site number `place`, made once a process."""
    job = Job(**json.loads(text))
    torch.set_num_threads(job.threads)
    name = job.names[place]
    return Bench(job, name, job.nets(name)["generator"])


@client.train()
def train(message: Message, context: Context) -> Message:
    config = message.content["config"]
    job, site = Job(**json.loads(config["job"])), bench(config["job"], int(context.node_config["partition-id"]))
    site.generator.load_state_dict(message.content["arrays"].to_torch_state_dict())
    recall(site, context.state)
    site.generator.train()
    tasks, slices = stacked(site.batches(config["round"]))
    losses = []
    for task, batch in zip(tasks, DataLoader(TensorDataset(*slices), job.batch), strict=True):
        source, target, code = (part.to(job.device) for part in batch)
        losses.append(site.step(task, source, target, code))
    keep(site, context.state)
    metrics = MetricRecord({"loss": mean(losses), "num-examples": site.feed.samples})
    content = RecordDict({"arrays": ArrayRecord(site.generator.state_dict()), "metrics": metrics})
    return Message(content=content, reply_to=message)


def keep(site: Bench, state: RecordDict) -> None:
    """Put what is the site's own into its state."""
    state["judges"] = ArrayRecord(site.judges.state_dict())
    moments = {
        f"{player}/{index}/{key}": tensor
        for player, move in site.moves.items()
        for index, entry in move.state_dict()["state"].items()
        for key, tensor in entry.items()
    }
    state["moments"] = ArrayRecord(moments)


def recall(site: Bench, state: RecordDict) -> None:
    """Take it back, if this is not the first round."""
    if "judges" not in state:
        return
    site.judges.load_state_dict(state["judges"].to_torch_state_dict())
    moments = state["moments"].to_torch_state_dict()
    for player, move in site.moves.items():
        entries: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in moments.items():
            owner, index, key = name.rsplit("/", 2)
            if owner == player:
                entries.setdefault(int(index), {})[key] = tensor
        move.load_state_dict({"state": entries, "param_groups": move.state_dict()["param_groups"]})


def cpu_seconds() -> float:
    """User and system seconds of this process and of all that it started, which are Ray's."""
    here = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (here, *here.children(recursive=True)))


def serve(job: Job) -> None:
    """Run the simulation until no more rounds are asked for."""
    server, turns = ServerApp(), Turns(job, "flwr", cpu_seconds)

    @server.main()
    def rounds(grid: Grid, context: Context) -> None:
        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=job.sites, min_available_nodes=job.sites)
        arrays = ArrayRecord(job.nets(job.names[0])["generator"].state_dict())
        while turns.wait():
            config = ConfigRecord({"job": json.dumps(asdict(job)), "round": turns.round})
            result = strategy.start(grid, arrays, num_rounds=1, train_config=config)
            arrays = result.arrays
            turns.done(float(result.train_metrics_clientapp[1]["loss"]))

    run_simulation(
        server,
        client,
        job.sites,
        backend_config={
            "init_args": {"num_cpus": job.threads, "logging_level": "error"},
            "client_resources": {"num_cpus": job.threads, "num_gpus": float(job.device != "cpu")},
        },
    )


if __name__ == "__main__":
    # by its own name, so that Ray's processes import this module and keep what it caches, rather than unpickle a copy
    from fedsynth.benchmarks.speed.peers import flower

    flower.serve(Job.chosen(Job.parser(__doc__).parse_args()))
