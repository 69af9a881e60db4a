"""A method on a small network and a small federation: what the conformance rules are tried on."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fedsynth.federation import Conditions, Federation, Site, Subject, Task
from fedsynth.method import Method
from fedsynth.networks.network import Network, Norm
from fedsynth.registry import NETWORKS
from fedsynth.runtime.options import TrainerOptions
from fedsynth.trainer import Outcome, Trainer

TASKS = {"a": ("T1->T2", "T2->PD"), "b": ("T1->T2",), "c": ("T1->T2", "T2->T1")}
SMALL: dict[str, Any] = {
    **{"width": 2, "blocks": 3, "latent": 8, "pools": 2, "discriminator_width": 2, "discriminator_layers": 1},
    **{"depths": [1, 2], "heads": [1, 2], "refinements": 1},
}
NEWCOMER = "n"


def small(network: type[Network], norm: Norm | None = None) -> Network:
    """The network at a size for checks: as narrow as its options allow; with its own normalisation unless one is needed."""
    options: dict[str, Any] = {name: value for name, value in SMALL.items() if name in network.__dataclass_fields__}
    return network(**options | ({"norm": norm} if norm else {}))


def federation(names: str = "abc", size: tuple[int, int] = (32, 32), scarce: str = "") -> Federation:
    """Sites of square blobs, different at each site, and one that joins late; they are for checking rules, not for learning
    much. A site in `scarce` has one training slice, the others six."""
    sites = {}
    for name in (*names, NEWCOMER):
        stream = np.random.default_rng(ord(name))
        tissue = np.kron(stream.random((10, 1, 4, 4)), np.ones((size[0] // 4, size[1] // 4)))
        images = np.concatenate([tissue, 1 - tissue, tissue ** (0.5 + 0.1 * ord(name) % 1)], 1) * 2 - 1
        start = 5 if name in scarce else 0
        bounds = [5, 6, 8, 10] if name in scarce else [0, 2, 4, 6, 8, 10]
        splits = ["train"] * (len(bounds) - 3) + ["val", "test"]
        subjects = tuple(
            Subject(f"{name}{k}", split, slice(bounds[k] - start, bounds[k + 1] - start))
            for k, split in enumerate(splits)
        )
        sites[name] = Site(
            name, ("T1", "T2", "PD"), images[start:].astype(np.float16), tissue[start:, 0] > 0.1, subjects
        )
    plan = {name: tuple(map(Task.parse, TASKS[name])) for name in names}
    return Federation(sites, plan, {NEWCOMER: (Task("T1", "T2"),)}, Conditions(adapt=[], adapt_steps=2))


@dataclass(frozen=True)
class ToyFederation:
    """A method on its published network, small, with short runs to compare."""

    method: Method
    network: Network
    options: TrainerOptions = field(
        default_factory=lambda: TrainerOptions(
            rounds=3,
            local_steps=2,
            batch=2,
            lr=1e-3,
            zoom=1.0,
            validate_every=3,
            checkpoint_every=3,
            device="cpu",
        )
    )

    @classmethod
    def of(cls, method: type[Method]) -> ToyFederation:
        """With the method's default options."""
        return cls(method(), small(NETWORKS[method.published], method.needs_norm))

    def trainer(self, of: str | Federation = "abc", folder: Path | None = None, **options: Any) -> Trainer:
        """A trainer of it on the named sites, or on a federation, with some options changed."""
        data = of if isinstance(of, Federation) else federation(of)
        method, given = deepcopy(self.method), replace(self.options, **options)
        return Trainer(method, self.network, data, given, seed=0, folder=folder)

    @cached_property
    def outcome(self) -> Outcome:
        return self.trainer().run()
