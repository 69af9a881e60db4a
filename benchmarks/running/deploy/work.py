"""What an engine lets the parties do: the server leads a run over links, and a site answers what comes over its own."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import socket
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any

from fedsynth.trainer.site_party import LinkError

from ...config.errors import OptionError
from .parties import Ask, HospitalSite, agreed_run, leave_models, serve, shared_facts

AGREED, REFUSED = Path("local", "fedsynth.json"), "refused.txt"  # in a kit


def agreed_in(kit: Path) -> dict[str, Any]:
    """What is agreed on in a kit: the words of the run, the seconds that a site has, and the words of this party alone, with the
    folder in which it said them."""
    found: dict[str, Any] = json.loads((kit / AGREED).read_text())
    return found


def folder_of(kit: Path, words: Sequence[str]) -> Path:
    """Where a party keeps what it has of a run."""
    what = shared_facts(agreed_run(words))["options"]
    return kit / "runs" / sha256(what.encode()).hexdigest()[:12]


def lead(kit: Path, ask: Ask) -> None:
    """Train the run of the server's kit over links. Leaves states and `outcome.json` below `runs` of the kit.

    Raises:
        OptionError: The run is refused; the kit says why.
    """
    words = agreed_in(kit)["words"]
    (kit / REFUSED).unlink(missing_ok=True)
    try:
        run, folder = agreed_run(words), folder_of(kit, words)
        trainer, sites = serve(run, ask, folder)
    except OptionError as error:
        (kit / REFUSED).write_text(f"{error}\n")
        raise
    outcome = {
        "rounds": trainer.state.round,
        "diverged": trainer.state.diverged,
        "selected_round": trainer.state.best_round,
        "validation_psnr": trainer.state.best_psnr,
        "digest": trainer.digests(),
        "bytes": {name: {"sent": site.bytes_sent, "received": site.bytes_received} for name, site in sites.items()},
        "curve": trainer.state.curve,
    }
    if not trainer.state.diverged:
        leave_models(trainer, sites)
    (folder / "outcome.json").write_text(json.dumps(outcome, indent=1))


def wait_for_server(host: str, port: int) -> None:
    """Return when the server listens."""
    while True:
        with suppress(OSError), socket.create_connection((host, port), timeout=10):
            return
        print("waiting for the server", flush=True)
        time.sleep(5)


class Worker:
    """Answers requests in a process of its own, so that the engine's outlives work that dies.

    Args:
        kit: Of the site.
        name: Of the site.
    """

    def __init__(self, kit: Path, name: str) -> None:
        self._kit, self._name = kit, name
        self._pool: ProcessPoolExecutor | None = None

    def reply(self, request: bytes) -> bytes:
        """The answer to a request.

        Raises:
            LinkError: There is none: the work failed, or its process died. The next request begins another.
        """
        try:
            return self._submitted(request).result()
        except BrokenProcessPool as error:
            raise LinkError("the process that did its work died") from error
        except Exception as error:
            logging.getLogger(__name__).exception("a request failed")
            raise LinkError(f"{type(error).__name__}: {error}") from error

    def _submitted(self, request: bytes) -> Future[bytes]:
        if self._pool:
            with suppress(BrokenProcessPool):  # died since the last request
                return self._pool.submit(reply_to, self._kit, self._name, request)
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin, (os.getpid(),))
        return self._pool.submit(reply_to, self._kit, self._name, request)


def begin(parent: int) -> None:
    """Let the process that does the work end with the one that asks for it, however that ends."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def reply_to(kit: Path, name: str, request: bytes) -> bytes:
    """The answer of a site to a request."""
    given = agreed_in(kit)
    os.chdir(given["where"])
    return hospital_site((*given["words"], *given["own"]), name, folder_of(kit, given["words"])).reply(request)


@lru_cache(1)
def hospital_site(words: tuple[str, ...], name: str, folder: Path) -> HospitalSite:
    """The site of this process, which is made once a run."""
    return HospitalSite(agreed_run(words), name, folder)
