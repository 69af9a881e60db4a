"""One run in a process of its own. All such processes are forked from one that has imported this module, and with it torch and
every method, network and data set: to start one costs hundredths of a second, and all run the code that was there at the start.
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
from ..config.identity import identity, name
from ..config.schema import Run, register
from ..records.store import State
from .execute import Ending, settle

register()
digests()


def work(run: Run, expected: str, told: Connection, output: Path) -> None:
    """Settle a run and tell how it ended; what is printed meanwhile goes to a file. Ends with the process that asked for it."""
    threading.Thread(target=follow, args=(os.getppid(),), daemon=True).start()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # of a terminal, whose Ctrl-C goes to all: the sweep stops its processes
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    faulthandler.enable()
    try:
        same = name(identity(run)) == expected
        changed = (
            "failed: the code or the data have changed since the sweep began; the same command begins anew with them"
        )
        told.send(settle(run) if same else Ending(State.failed, changed))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)


def follow(origin: int) -> None:
    """End this process, at once, when the sweep or the process that all are forked from is gone: a run survives it."""
    sweep = multiprocessing.parent_process()
    assert sweep is not None
    while not wait([sweep.sentinel], 1.0) and os.getppid() == origin:
        pass
    os._exit(1)
