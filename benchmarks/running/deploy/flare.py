"""NVIDIA FLARE carries the messages: each party has a signed kit of one project, and all speak by mutual TLS.

FLARE starts a process for the server's side of a run and one at each site.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal

from fedsynth.trainer.site_party import LinkError

from ...config.errors import OptionError
from .work import Worker, agreed_in, lead, wait_for_server

TASK = "fedsynth"
ADMIN = "coordinator@federation.local"
CLASSES = {"server": f"{__name__}.FlareServer", "client": f"{__name__}.FlareSite"}
BUILDERS = [
    {"path": "nvflare.lighter.impl.workspace.WorkspaceBuilder", "args": {"template_file": ["master_template.yml"]}},
    {"path": "nvflare.lighter.impl.static_file.StaticFileBuilder", "args": {"config_folder": "config"}},
    {"path": "nvflare.lighter.impl.cert.CertBuilder"},
    {"path": "nvflare.lighter.impl.signature.SignatureBuilder"},
]


class Flare:
    """What a party does over FLARE."""

    @staticmethod
    def make(out: Path, names: Sequence[str], server: str, port: int) -> dict[str, Path]:
        """Make the kit of each party, with keys that a new CA has signed."""
        project = {
            "api_version": 3,
            "name": "fedsynth",
            "participants": [
                {"name": server, "type": "server", "org": "coordinator", "fed_learn_port": port},
                *({"name": name, "type": "client", "org": "hospital"} for name in names),
                {"name": ADMIN, "type": "admin", "org": "coordinator", "role": "project_admin"},
            ],
            "builders": BUILDERS,
        }
        (out / "project.yml").write_text(yaml.safe_dump(project))
        command = [sys.executable, "-m", "nvflare.lighter.provision", "-p", str(out / "project.yml"), "-w", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        made = max((out / "fedsynth").glob("prod_*"))
        kits = {party: made / party for party in (server, *names, ADMIN)}
        for kit in kits.values():
            resources: dict[str, Any] = json.loads((kit / "local" / "resources.json.default").read_text())
            resources |= {
                "class_allow_list": [*CLASSES.values()],  # a kit runs no other code
                "allow_log_streaming": False,  # its log stays where it is
                "components": [part for part in resources.get("components", []) if "log" not in part["id"]],
            }
            (kit / "local" / "resources.json").write_text(json.dumps(resources, indent=1))
        return kits

    @staticmethod
    def join(kit: Path) -> int:
        """Run the kit of a site, in the foreground."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return subprocess.run(
            ["bash", str(kit / "startup" / "sub_start.sh"), "--once"], env=os.environ | {"PATH": path}
        ).returncode

    @staticmethod
    def serve(kit: Path) -> int:
        """Run the server. Its jobs are kept in its kit: else all servers of a machine have one folder, and take one another's."""
        path = kit / "local" / "resources.json"
        resources = json.loads(path.read_text())
        resources["snapshot_persistor"]["args"]["storage"]["args"]["root_dir"] = str(kit / "jobs" / "snapshots")
        (manager,) = (part for part in resources["components"] if part["id"] == "job_manager")
        manager["args"]["uri_root"] = str(kit / "jobs" / "stored")
        path.write_text(json.dumps(resources, indent=1))
        return Flare.join(kit)

    @staticmethod
    def train(kit: Path, names: Sequence[str]) -> str:
        """Let the parties train, and wait until they have. Returns what was wrong; nothing if all was well."""
        from nvflare.fuel.flare_api.flare_api import new_secure_session

        with TemporaryDirectory() as folder:
            job = Path(folder, "fedsynth")
            config = job / "app" / "config"
            config.mkdir(parents=True)
            meta = {"name": "fedsynth", "resource_spec": {}, "deploy_map": {"app": ["@ALL"]}, "min_clients": 1}
            server = {"format_version": 2, "workflows": [{"id": "rounds", "path": CLASSES["server"], "args": {}}]}
            site = {
                "format_version": 2,
                "executors": [{"tasks": ["*"], "executor": {"path": CLASSES["client"], "args": {}}}],
            }
            (job / "meta.json").write_text(json.dumps(meta))
            (config / "config_fed_server.json").write_text(json.dumps(server))
            (config / "config_fed_client.json").write_text(json.dumps(site))
            admin = json.loads((kit / "startup" / "fed_admin.json").read_text())["admin"]
            wait_for_server(admin["host"], admin["port"])  # FLARE itself would look for it ever more rarely
            session = new_secure_session(ADMIN, str(kit), timeout=600.0, command_timeout=60.0)
            try:
                while missing := {*names} - {client.name for client in session.get_system_info().client_info}:
                    print(f"waiting for {', '.join(sorted(missing))}", flush=True)
                    time.sleep(10)
                number = session.submit_job(str(job))
                print(f"job {number} is at work", flush=True)
                session.monitor_job(number)
                status = session.get_job_meta(number)["status"]
            finally:
                session.close()
        return "" if status == "FINISHED:COMPLETED" else f"job {number}: {status}"


class FlareServer(Controller):
    """The server's side of a run."""

    def start_controller(self, fl_ctx: FLContext) -> None: ...
    def stop_controller(self, fl_ctx: FLContext) -> None: ...
    def process_result_of_unknown_task(
        self, client: Any, task_name: str, client_task_id: str, result: Any, fl_ctx: Any
    ) -> None:
        """An answer that came too late."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        kit = Path(fl_ctx.get_workspace().get_root_dir())
        seconds = int(agreed_in(kit)["seconds"])

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
            lead(kit, ask)
        except OptionError as error:
            self.system_panic(str(error), fl_ctx)


class FlareSite(Executor):
    """A site's side of a run."""

    def __init__(self) -> None:
        super().__init__()
        self._worker: Worker | None = None

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        reply = make_reply(ReturnCode.OK)
        if self._worker is None:
            self._worker = Worker(Path(fl_ctx.get_workspace().get_root_dir()), fl_ctx.get_identity_name())
        try:
            reply["answer"] = self._worker.reply(shareable["request"])
        except LinkError as error:
            reply["fault"] = str(error)
        return reply
