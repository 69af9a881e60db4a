"""FedSynth's own round, as a worker: `python -m fedsynth.benchmarks.speed.peers.ours`.

A round is `Trainer.round`: for each site download, local steps and upload, with their bytes counted and the losses
checked, then the aggregation. Neither validation nor a checkpoint falls into it.
"""

from __future__ import annotations

from fedsynth.benchmarks.speed.peers.job import Job
from fedsynth.benchmarks.speed.peers.turns import Turns
from fedsynth.method import Method
from fedsynth.runtime.device import set_precision
from fedsynth.trainer import Trainer


class Ours:
    def __init__(self, job: Job) -> None:
        set_precision(job.options)
        self.trainer = Trainer(Method(), job.architecture, job.federation, job.options, seed=0)

    def round(self, round: int) -> float:
        self.trainer.round(round)
        rows = self.trainer.state.curve[-len(self.trainer.sites) :]
        return sum(float(row["loss_generator"]) for row in rows) / len(rows)


def main() -> None:
    job = Job.chosen(Job.parser(__doc__).parse_args())
    engine, turns = Ours(job), Turns(job, "fedsynth")
    while turns.wait():
        turns.done(engine.round(turns.round))


if __name__ == "__main__":
    main()
