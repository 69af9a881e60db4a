"""NVIDIA FLARE carries the messages: each party has a signed kit of one project, and all speak by mutual TLS.

FLARE starts a process for the server's side of a run and one at each site. A site does its work in a process below that one, so
that a run outlives work that dies.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import time
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal

from fedsynth.trainer.site_party import LinkError

from ...config.errors import OptionError
from .kits import REFUSED, agreed_in, folder_of
from .parties import HospitalSite, agreed_run, leave_models, serve

TASK = "fedsynth"


class FlareServer(Controller):
    """The server's side of a run. It leaves its states and `outcome.json` in its kit, below `runs`."""

    def start_controller(self, fl_ctx: FLContext) -> None: ...
    def stop_controller(self, fl_ctx: FLContext) -> None: ...
    def process_result_of_unknown_task(
        self, client: Any, task_name: str, client_task_id: str, result: Any, fl_ctx: Any
    ) -> None:
        """An answer that came too late."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        kit = Path(fl_ctx.get_workspace().get_root_dir())
        given = agreed_in(kit)
        words, seconds = given["words"], int(given["seconds"])

        def ask(name: str, request: bytes) -> Future[bytes]:
            answer: Future[bytes] = Future()

            def received(client_task: ClientTask, fl_ctx: FLContext) -> None:
                result = client_task.result
                if result.get_return_code() == ReturnCode.OK and "answer" in result:
                    answer.set_result(result["answer"])
                else:
                    answer.set_exception(LinkError(result.get("fault", result.get_return_code())))

            def done(task: Task, fl_ctx: FLContext) -> None:
                if not answer.done():
                    answer.set_exception(LinkError(f"no answer ({task.completion_status.value})"))

            data = Shareable()
            data["request"] = request
            task = Task(TASK, data, timeout=seconds, result_received_cb=received, task_done_cb=done)
            self.send(task, fl_ctx, targets=[name])
            return answer

        try:
            run, folder = agreed_run(words), folder_of(kit, words)
            trainer, sites = serve(run, ask, folder)
        except OptionError as error:
            (kit / REFUSED).write_text(f"{error}\n")
            self.system_panic(str(error), fl_ctx)
            return
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


class FlareSite(Executor):
    """A site's side of a run, which hands every request to the process that does its work."""

    def __init__(self) -> None:
        super().__init__()
        self._pool: ProcessPoolExecutor | None = None

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin, (os.getpid(),))
        kit, reply = Path(fl_ctx.get_workspace().get_root_dir()), make_reply(ReturnCode.OK)
        try:
            reply["answer"] = self._pool.submit(
                reply_to, kit, fl_ctx.get_identity_name(), shareable["request"]
            ).result()
        except BrokenProcessPool:
            self._pool = None
            reply["fault"] = "the process that did its work died"
        except Exception as error:
            logging.getLogger(__name__).exception("a request failed")
            reply["fault"] = f"{type(error).__name__}: {error}"
        return reply


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


@cache
def hospital_site(words: tuple[str, ...], name: str, folder: Path) -> HospitalSite:
    """The site of this process, which is made once."""
    return HospitalSite(agreed_run(words), name, folder)
