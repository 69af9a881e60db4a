"""One cell, in whatever process an engine gives it. Each such process imports this module first, and with it torch and every
method, network and data set: all that it trains has the code that was there when it began.
"""

from __future__ import annotations

import pickle
import time
from dataclasses import replace

from ..config.code_digest import digests
from ..config.grid import Cell
from ..config.identity import identity
from ..config.schema import register
from ..records.record import run_name
from ..records.store import State, workplace
from .training.execute import Ending, settle, tell

register()
digests()


def settle_cell(packed: bytes) -> Ending:
    """Settle a pickled cell; tells where, and how long it took. In a job of a scheduler the job's log names the cell."""
    began, place = time.monotonic(), workplace()
    cell: Cell = pickle.loads(packed)
    if place:
        tell(f"{cell.name}: begun in {place}")
    changed = "failed: the code or the data have changed since the sweep began; the same command begins anew with them"
    same = run_name(identity(cell.run)) == cell.name
    ending = settle(cell) if same else Ending(State.failed, changed)
    if place:
        tell(f"{cell.name}: {ending.told}")
    return replace(ending, seconds=time.monotonic() - began, place=place)
