"""How a run trains: the options that every method of a comparison shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import ceil


class Optimizer(Enum):
    adam = "adam"
    sgd = "sgd"


class Precision(Enum):
    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"  # autocast; weights, moments and what travels stay float32


class Execution(Enum):
    """How local steps run."""

    auto = "auto"  # graph on a GPU, else eager
    eager = "eager"
    graph = "graph"  # captured and played back as CUDA graphs
    compiled = "compiled"  # nets go through torch.compile, which takes about a minute and then makes steps faster


class Offload(Enum):
    """Where the states of sites wait that are not at work."""

    host = "host"  # memory, page-locked for a GPU
    disk = "disk"  # the run's folder: memory stays flat however many sites there are


class ServerRule(Enum):
    """How the server makes one vector of several, for any method (robust.py). The middle three weigh sites alike."""

    mean = "mean"
    median = "median"
    trimmed_mean = "trimmed_mean"
    krum = "krum"
    norm_clip = "norm_clip"


UNCOUNTED = ("checkpoint_every", "resident", "offload")  # options that change no number: no part of a run's identity


@dataclass
class TrainerOptions:
    """Defaults are the reference's released scripts (Dalmaz et al. 2024): 150 rounds of one local epoch, batch 1, Adam."""

    rounds: int = 150
    local_epochs: float = 1.0
    local_steps: int = 0  # a fixed number of local steps a round instead of epochs, if above 0
    batch: int = 1
    lr: float = 2e-4  # constant for the first half of the rounds, then linear decay that never reaches 0
    betas: list[float] = field(default_factory=lambda: [0.5, 0.999])
    optimizer: Optimizer = Optimizer.adam
    clip: float = 0.0  # largest gradient norm of a player; 0 for no clipping
    server_rule: ServerRule = ServerRule.mean
    corrupt: float = 0.0  # share of the sites that a robust server rule assumes to be corrupt
    common_start: bool = True  # off: every site begins with weights of its own, as in the released pFLSynth code
    participation: float = 1.0  # share of the sites that take part in a round, at least one
    flip: bool = True  # random left-right flips
    zoom: float = 1.1171875  # enlarge by this and crop at random, as the reference's 286 -> 256; 1 for no crop
    validate_every: int = 1
    checkpoint_every: int = 1
    precision: Precision = Precision.fp32
    deterministic: bool = (
        False  # on CUDA: only deterministic kernels; a CPU run with fixed threads repeats exactly anyway
    )
    threads: int = 1
    device: str = "auto"  # cuda where there is one, else cpu
    execution: Execution = Execution.auto
    resident: int = 4  # sites whose states stay on the device; a GPU trains as many side by side
    offload: Offload = Offload.host

    def __post_init__(self) -> None:
        lowest = {
            "rounds": (self.rounds, 1),
            "batch": (self.batch, 1),
            "threads": (self.threads, 1),
            "validate_every": (self.validate_every, 1),
            "checkpoint_every": (self.checkpoint_every, 1),
            "resident": (self.resident, 1),
            "zoom": (self.zoom, 1.0),
            "local_steps": (self.local_steps, 0),
            "clip": (self.clip, 0.0),
        }
        for name, (value, bound) in lowest.items():
            if value < bound:
                raise ValueError(f"trainer.{name} is {value}; it must be at least {bound}")
        for name, value in {
            "lr": self.lr,
            "local_epochs": self.local_epochs,
            "participation": self.participation,
        }.items():
            if value <= 0:
                raise ValueError(f"trainer.{name} is {value}; it must be above 0")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"trainer.betas is {self.betas}; it must be two numbers from 0 to below 1")
        if not 0 <= self.corrupt < 0.5:
            raise ValueError(f"trainer.corrupt is {self.corrupt}; it is a share of the sites, below a half")
        if self.participation > 1:
            raise ValueError(f"trainer.participation is {self.participation}; it is a share of the sites, at most 1")

    def execute(self, device: str) -> Execution:
        """How local steps run on a kind of device. Raises ValueError for what it cannot do."""
        if self.execution is Execution.auto:
            return Execution.graph if device == "cuda" else Execution.eager
        if self.execution is Execution.graph and device != "cuda":
            raise ValueError(
                f"trainer.execution=graph needs a CUDA device, and this run is on {device}; set it to auto"
            )
        return self.execution

    def rate(self, round: int) -> float:
        """Multiplier of the learning rate in round 1..rounds: 1, then linear decay to 1 / (half + 1) of a step above 0."""
        half = self.rounds // 2
        return min(1.0, (self.rounds - round + 1) / (half + 1))

    def steps(self, slices: int) -> int:
        """Local steps a round of a site with this many training slices; every batch is full."""
        exact = round(self.local_epochs * slices / self.batch, 6)  # 0.07 x 100 is 7.000000000000001
        return self.local_steps or max(1, ceil(exact))
