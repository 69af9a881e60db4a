"""How a run trains: the options that every method of a comparison shares."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from math import ceil, isfinite

from .optimizers.adam import Adam
from .optimizers.optimizer import Optimizer
from .schedules.linear import Linear
from .schedules.schedule import Schedule


def check_finite(group: str, options: object) -> None:
    """Raises ValueError for the first number among a dataclass's options, or in their lists and dicts, that is not finite."""
    for option in fields(options):  # type: ignore[arg-type]  # a dataclass
        for name, value in _numbers(f"{group}.{option.name}", getattr(options, option.name)):
            if not isfinite(value):
                raise ValueError(f"{name} is {value}; it must be a finite number")


def _numbers(name: str, value: object) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield name, value
    elif isinstance(value, Mapping):
        for key, own in value.items():
            yield from _numbers(f"{name}.{key}", own)
    elif isinstance(value, list | tuple):
        for number, own in enumerate(value):
            yield from _numbers(f"{name}[{number}]", own)
    elif is_dataclass(value):
        for option in fields(value):
            yield from _numbers(f"{name}.{option.name}", getattr(value, option.name))


class Precision(Enum):
    """The arithmetic of local steps and of synthesis."""

    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"  # by autocast: weights, moments and what travels stay float32


class Execution(Enum):
    """How local steps run."""

    auto = "auto"  # graph on a GPU, else eager
    eager = "eager"
    graph = "graph"  # recorded once and played back as CUDA graphs
    compiled = "compiled"  # by torch.compile: minutes before the first run on a machine, then faster steps


class Offload(Enum):
    """Where the states of sites wait while other sites have the slots."""

    host = "host"  # memory, page-locked for a GPU
    disk = "disk"  # the run's folder: the memory does not grow with the number of sites


class ServerRule(Enum):
    """How the server makes one vector of several, for any method (server/rules.py). The middle three give sites equal weight."""

    mean = "mean"
    median = "median"
    trimmed_mean = "trimmed_mean"
    krum = "krum"
    norm_clip = "norm_clip"


# Options that change no number, so they are not part of a run's identity.
UNCOUNTED = ("checkpoint_every", "resident", "offload")

MOST: dict[str, float] = {"batch": 4096, "threads": 1024, "resident": 65536, "zoom": 8}
MOST |= {"rounds": 1e6, "local_steps": 1e6, "local_epochs": 1e6}


@dataclass
class TrainerOptions:
    """How every method of a comparison trains.

    The defaults are the reference's released scripts (Dalmaz et al. 2024): 150 rounds of one local epoch, batches of 1, Adam.

    Args:
        rounds: Rounds of download, local training, upload and aggregation.
        local_epochs: Passes through a site's training slices in a round; may be a fraction.
        local_steps: If above 0, so many local steps a round at every site, in place of epochs.
        batch: Slices in a local step.
        lr: The learning rate, which the schedule multiplies.
        schedule: How the learning rate changes from round to round; on a command line it is chosen by schedule=NAME.
        optimizer: What moves a player; on a command line it is chosen by optimizer=NAME. Its state stays at the site across
            rounds.
        clip: The largest norm of a player's gradient; 0 for no limit.
        server_rule: How the server makes one vector of several. A rule that could do nothing is refused.
        corrupt: The share of the sites of a round that a trimmed mean or Krum assumes to be corrupt, rounded to their number.
        common_start: Whether all sites start from the same weights; if not, each has its own, as in the released pFLSynth code
            (trainer/server_party.py).
        participation: The share of the sites that take part in a round; at least one does. Pooled training does that share of
            all sites' steps.
        flip: Whether slices are flipped left-right at random.
        serve_training: Whether sites serve with their nets in training mode, one slice at a time, as the released pFLSynth code:
            dropout stays on, and batch norm uses the slice's own statistics.
        zoom: By how much slices are enlarged before they are cropped at random, by bilinear interpolation; 1 for none. The
            reference enlarges 256 pixels to 286, by bicubic interpolation.
        validate_every: Rounds from one validation to the next; the last round is always validated.
        checkpoint_every: Rounds from one checkpoint to the next.
        precision: The arithmetic of local steps and of synthesis.
        deterministic: Whether CUDA may use deterministic kernels only. On a CPU, a run with a fixed number of threads repeats
            exactly anyway.
        threads: Threads of a CPU run.
        device: "cpu", "cuda", "cuda:1" and so on; "auto" is cuda where there is one, else cpu. Whether it is there is looked at
            where the run trains, and not where it is planned.
        execution: How local steps run.
        resident: How many sites' states stay on the device; a GPU trains as many sites side by side.
        offload: Where the states of the other sites wait.

    Raises:
        ValueError: An option is out of its range; the message names the option and the range.

    Example:
        >>> options = TrainerOptions(rounds=4, local_epochs=0.5, batch=2)
        >>> options.steps(slices=10), [options.rate(round) for round in (1, 2, 4)]
        (3, [1.0, 1.0, 0.3333333333333333])
    """

    rounds: int = 150
    local_epochs: float = 1.0
    local_steps: int = 0
    batch: int = 1
    lr: float = 2e-4
    schedule: Schedule = field(default_factory=Linear)
    optimizer: Optimizer = field(default_factory=Adam)
    clip: float = 0.0
    server_rule: ServerRule = ServerRule.mean
    corrupt: float = 0.0
    common_start: bool = True
    participation: float = 1.0
    flip: bool = True
    serve_training: bool = False
    zoom: float = 1.1171875
    validate_every: int = 1
    checkpoint_every: int = 1
    precision: Precision = Precision.fp32
    deterministic: bool = False
    threads: int = 1
    device: str = "auto"
    execution: Execution = Execution.auto
    resident: int = 4
    offload: Offload = Offload.host

    def __post_init__(self) -> None:
        check_finite("trainer", self)
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
        self._check_most()
        if not 0 <= self.corrupt < 0.5:
            raise ValueError(f"trainer.corrupt is {self.corrupt}; it is a share of the sites, below a half")
        if self.participation > 1:
            raise ValueError(f"trainer.participation is {self.participation}; it is a share of the sites, at most 1")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise ValueError(f"trainer.device is {self.device!r}; it can be auto, cpu, cuda, and cuda:1 and so on")
        if self.device == "cpu":
            self.execute("cpu")

    def _check_most(self) -> None:
        """Refuse what is a slip of the keyboard, and would end after years or without memory."""
        for name, most in MOST.items():
            if (value := getattr(self, name)) > most:
                raise ValueError(f"trainer.{name} is {value}; it must be at most {most:.0f}")

    def execute(self, device: str) -> Execution:
        """How local steps run on a kind of device, "cpu" or "cuda".

        Raises:
            ValueError: Graphs were asked for, and it is not a CUDA device.
        """
        if self.execution is Execution.auto:
            return Execution.graph if device == "cuda" else Execution.eager
        if self.execution is Execution.graph and device != "cuda":
            raise ValueError(
                f"trainer.execution=graph needs a CUDA device, and this run is on {device}; set it to auto"
            )
        return self.execution

    def rate(self, round: int) -> float:
        """The factor of the learning rate in a round, from 1."""
        return self.schedule.factor(round, self.rounds)

    def steps(self, slices: int) -> int:
        """Local steps a round of a site with so many training slices; every batch is full."""
        exact = round(self.local_epochs * slices / self.batch, 6)  # 0.07 x 100 is 7.000000000000001
        return self.local_steps or max(1, ceil(exact))
