"""A small federation, on which the rules of the contract are tried: a method on its published network, and short runs of it."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
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
from fedsynth.runtime.options import Offload, TrainerOptions
from fedsynth.trainer import Outcome, Trainer

from .observation import Observation

TASKS = {
    "a": ("T1->T2", "T2->PD"),
    "b": ("T1->T2",),
    "c": ("T1->T2",),
}  # b and c have the same nets: they can share a slot
SMALL: dict[str, Any] = {
    **{"width": 2, "blocks": 1, "latent": 8, "pools": 1, "discriminator_width": 2, "discriminator_layers": 1},
    **{"depths": [1, 2], "heads": [1, 2], "refinements": 1},
}
NEWCOMER = "n"


def small(network: type[Network], norm: Norm | None = None) -> Network:
    """The network as narrow as its options allow; with its own normalisation unless another one is needed."""
    options: dict[str, Any] = {name: value for name, value in SMALL.items() if name in network.__dataclass_fields__}
    return network(**options | ({"norm": norm} if norm else {}))


def blobs(names: str = "abc", size: tuple[int, int] = (16, 16), scarce: str = "") -> Federation:
    """Sites with images of blocks, different at each site, and a newcomer. A site in `scarce` has one training slice, the others
    six. They are for checking rules: there is little to learn from them."""
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


CHANGES = {  # of a run, which must not change what it ends with
    "resumed": "resumed after round 2",
    "offloaded": "with one slot that the sites share",
    "validated": "validated in every round",
    "reordered": "with the sites listed in another order",
}


@dataclass(frozen=True)
class ToyFederation:
    """A method on its published network, small, and the runs that several rules compare."""

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
        return cls(method(), small(NETWORKS[method.default_network()], method.needs_norm))

    def trainer(self, of: str | Federation = "abc", folder: Path | None = None, **options: Any) -> Trainer:
        """A trainer of the method on the named sites, or on a federation, with some of its options changed."""
        data = of if isinstance(of, Federation) else blobs(of)
        method, given = deepcopy(self.method), replace(self.options, **options)
        return Trainer(method, self.network, data, given, seed=0, folder=folder)

    @cached_property
    def observed(self) -> Observation:
        """A whole run, watched, after which a newcomer adapts."""
        return Observation(self.trainer(_adapting(blobs())))

    def rerun(self, changes: Collection[str]) -> Outcome:
        """The same run, unwatched: with the sites in another order, in one slot that they share, validated in every round, or
        killed and resumed after round 2."""
        data = _adapting(blobs("cab" if "reordered" in changes else "abc"))
        options: dict[str, Any] = {"resident": 1, "offload": Offload.disk} if "offloaded" in changes else {}
        options |= {"validate_every": 1} if "validated" in changes else {}
        with tempfile.TemporaryDirectory() as name:
            if "resumed" in changes:
                options |= {"checkpoint_every": 1}
                killed = self.trainer(data, Path(name), **options)
                killed.round(1)
                killed.round(2)
            return self.trainer(data, Path(name), **options).run()

    @cached_property
    def differences(self) -> dict[str, list[str]]:
        """What each of CHANGES makes different at the end. All are tried at once, and one by one only if anything differs."""
        together = self._differs(CHANGES)
        alone = {change: self._differs([change]) if together else [] for change in CHANGES}
        return alone if any(alone.values()) else dict.fromkeys(CHANGES, together)

    def _differs(self, changes: Collection[str]) -> list[str]:
        expected, what = self.observed.outcome, f"a run {', '.join(CHANGES[change] for change in changes)}"
        try:
            found = self.rerun(changes)
        except Exception as error:  # a broken method may raise anything: that is a finding
            return [f"{what} raises {type(error).__name__}: {error}"]
        if names := sorted(name for name in expected.digest if found.digest.get(name) != expected.digest[name]):
            return [f"{what} ends with other tensors at {', '.join(names)}"]
        if _comparable(found, expected) != _comparable(expected, found):
            return [f"{what} ends with the same tensors and other scores"]
        return []


def _adapting(data: Federation) -> Federation:
    return replace(data, conditions=replace(data.conditions, adapt=[1]))


def _comparable(outcome: Outcome, other: Outcome) -> list[dict[str, Any]]:
    """The scores; those of the last round alone where another round was selected, as a run that is validated more often may."""
    same = outcome.selected_round == other.selected_round
    return [row for row in outcome.scores if same or row["selection"] == "last"]
