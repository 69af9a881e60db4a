"""How long runs will take, from finished ones that are like them: same method, network, slices and batch, else the closest."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from statistics import median
from typing import Any

from .records import Record


class Forecast:
    """Seconds for a local step of one site, all that a run does besides included, of each kind of run."""

    def __init__(self) -> None:
        self.seen: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)

    def add(self, record: Record, seconds: float = 0.0) -> None:
        """A finished run took so long, or as long as its record says if that is more: it may have been resumed."""
        spent = max(seconds, record.costs["seconds"] + record.costs.get("evaluation_seconds", 0.0))
        for kind in kinds(record.identity):
            self.seen[kind].append(spent / steps(record.identity))

    def seconds(self, identity: Mapping[str, Any]) -> float | None:
        """Of a whole run; None where nothing like it was finished."""
        known = next((self.seen[kind] for kind in kinds(identity) if kind in self.seen), None)
        return median(known) * steps(identity) if known else None


def kinds(identity: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What runs of about one speed have in common, the closest first."""
    network, trainer = identity["network"], identity["trainer"]
    fixed = (identity["dataset"].get("size"), *(trainer.get(option) for option in ("batch", "device", "threads")))
    size, full = tuple(map(str, fixed)), json.dumps(network, sort_keys=True)
    return [(*size, full, identity["method"]["name"]), (*size, full), (*size, network["name"]), size]


def steps(identity: Mapping[str, Any]) -> float:
    """Local steps of all sites; where a round is given in epochs, in units of a subject's."""
    trainer = identity["trainer"]
    local = trainer.get("local_steps") or trainer["local_epochs"] * identity["dataset"].get("train", 1)
    return float(trainer["rounds"] * local * len(identity["scenario"]["tasks"]))


def spelt(seconds: float) -> str:
    """A duration in two units at most."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
