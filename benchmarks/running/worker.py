"""One run in a process of its own. All such processes are forked from one that has imported this module, and with it torch and
every method, network and data set. To start one takes hundredths of a second, and all run the code that was there at the start.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection, wait
from pathlib import Path

from ..config.code_digest import digests
from ..config.grid import Cell
from ..config.identity import identity
from ..config.schema import register
from ..records.record import run_name
from ..records.store import State
from .training.execute import Ending, settle

register()
digests()


def settle_and_tell(cell: Cell, told: Connection, output: Path) -> None:
    """Settle a run and tell how it ended. What is printed meanwhile goes to a file. Ends with the process that asked for it."""
    threading.Thread(target=follow, args=(os.getppid(),), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal: the sweep stops its own
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    faulthandler.enable()
    try:
        same = run_name(identity(cell.run)) == cell.name
        changed = (
            "failed: the code or the data have changed since the sweep began; the same command begins anew with them"
        )
        told.send(settle(cell) if same else Ending(State.failed, changed))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)


def follow(origin: int) -> None:
    """End this process at once when the sweep is gone, or the process that all are forked from. The run can go on later."""
    sweep = multiprocessing.parent_process()
    assert sweep is not None
    while not wait([sweep.sentinel], 1.0) and os.getppid() == origin:
        pass
    os._exit(1)
