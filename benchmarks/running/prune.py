"""`fedsynth prune`: list the runs that nobody needs any more, and with --yes remove them.

Without a criterion these are the runs that failed and those that were superseded: the code of their method, network or data set
was edited since, so that every command makes another run. Of several criteria a run must meet all. A run on which a process works
is left alone.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsynth.registry import REGISTRIES

from ..records.store import RunStatus, State, Store
from ..records.text_table import text_table


def main(
    patterns: Sequence[str], superseded: bool, states: Sequence[str], older: float | None, yes: bool, results: Path
) -> int:
    """List what is selected, and remove it if asked to; 1 if a run could not be removed."""
    store, criteria = Store(results), Criteria(bool(patterns), superseded, frozenset(states), older)
    found = {name: status for name in store.names(patterns) if (status := criteria.select(store, name))}
    sizes = {name: sum(map(size, folders(store, name))) for name in found}
    rows = [(name, state, megabytes(sizes[name]), reason) for name, (state, reason) in found.items()]
    for line in text_table(rows, right=(2,)):
        print(line)
    total = f"{len(found)} run{'' if len(found) == 1 else 's'}, {megabytes(sum(sizes.values()))}"
    if not yes:
        print(f"{total}{'; --yes removes them' if found else ''}.")
        return 0
    busy = [name for name in found if not remove(store, name)]
    for name in busy:
        print(f"{name}: left alone, as a process works on it")
    print(f"Removed: {total}{f', but for {len(busy)}' if busy else ''}.")
    return int(bool(busy))


@dataclass(frozen=True)
class Criteria:
    """What a run must be to be selected: all that is set, or without any of it failed or superseded."""

    named: bool
    superseded: bool
    states: frozenset[str]
    older: float | None  # seconds since anything was written to its folder

    def select(self, store: Store, name: str) -> tuple[str, str] | None:
        """The state of a run that is selected and what there is to say of it; None for one that is not."""
        status = store.status(name)
        if status.state is State.running or not store.folder(name).is_dir():  # what was published is not removed
            return None
        edited = edited_code(store.identity(name))
        if not (self.named or self.superseded or self.states or self.older is not None):
            chosen = status.state is State.failed or bool(edited)
        else:
            age = time.time() - written(store.folder(name))
            chosen = (
                (not self.superseded or bool(edited))
                and (not self.states or status.state.value in self.states)
                and (self.older is None or age >= self.older)
            )
        return (status.state.value, "; ".join(filter(None, (edited, first_line(status))))) if chosen else None


def first_line(status: RunStatus) -> str:
    """Why a run failed, diverged or is damaged."""
    return status.reason.strip().partition("\n")[0]


def edited_code(identity: Mapping[str, Any]) -> str:
    """Which code of a run was edited since, in words. What is not registered here may be a plug-in's, and says nothing."""
    from ..config.code_digest import digests  # torch and every method

    known = {
        kind: {name: digests()[entry.cls] for name, entry in registry.entries().items()}
        for kind, registry in REGISTRIES.items()
    }
    code = identity.get("code", {})
    edited = [
        kind
        for kind, own in known.items()
        if kind in code and own.get(identity[kind]["name"], code[kind]) != code[kind]
    ]
    return f"superseded: the code of its {' and '.join(edited)} was edited since" if edited else ""


def folders(store: Store, name: str) -> list[Path]:
    """What there is of a run: its folder, and what its tracker wrote."""
    return [folder for folder in (store.folder(name), store.runs.parent / "tensorboard" / name) if folder.exists()]


def size(folder: Path) -> int:
    """The bytes of all its files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def written(folder: Path) -> float:
    """When anything was last written to it."""
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))


def remove(store: Store, name: str) -> bool:
    """Remove a run unless a process works on it. It is gone at once, and its files thereafter."""
    bin = store.runs.parent / ".pruned"
    with store.claim(name) as mine:
        if mine:
            bin.mkdir(exist_ok=True)
            for folder in folders(store, name):
                folder.rename(bin / f"{folder.parent.name}-{name}")
    shutil.rmtree(bin, ignore_errors=True)
    return mine


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
