"""`fedsynth deploy`: a run is agreed on, every party gets a kit, and each works from its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from ...config.errors import OptionError
from ...inference.export import write_volumes
from ...inference.synthesis import synthesised
from .parties import HospitalSite, agreed_run, shared_facts, warning

ADMIN = "coordinator@federation.local"
AGREED, REFUSED = Path("local", "fedsynth.json"), "refused.txt"  # in a kit
CLASSES = {
    "server": "fedsynth.benchmarks.running.deploy.flare.FlareServer",
    "client": "fedsynth.benchmarks.running.deploy.flare.FlareSite",
}
BUILDERS = [
    {"path": "nvflare.lighter.impl.workspace.WorkspaceBuilder", "args": {"template_file": ["master_template.yml"]}},
    {"path": "nvflare.lighter.impl.static_file.StaticFileBuilder", "args": {"config_folder": "config"}},
    {"path": "nvflare.lighter.impl.cert.CertBuilder"},
    {"path": "nvflare.lighter.impl.signature.SignatureBuilder"},
]


def main(what: str, kit: Path, words: Sequence[str], server: str, port: int, seconds: int) -> int:
    """Do what is asked with a kit; 1 if the run was refused or did not end well.

    Raises OptionError for a run that cannot be deployed.
    """
    if not find_spec("nvflare"):
        raise OptionError("fedsynth deploy needs a package that is not installed: pip install 'fedsynth[nvflare]'")
    kit = kit.resolve()
    if what == "plan":
        return plan(kit, words, server, port, seconds)
    if what == "join":
        return join_run(kit, words)
    if what == "serve":
        return serve(kit)
    return submit(kit) if what == "train" else export(kit)


def plan(out: Path, words: Sequence[str], server: str, port: int, seconds: int) -> int:
    """Make a kit for every party, with keys that a new CA has signed and the words of the run."""
    run = agreed_run(words)
    if told := warning(run):
        print(f"fedsynth: {told}")
    names = run.scenario.roster().names
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
    out.mkdir(parents=True, exist_ok=True)
    (out / "project.yml").write_text(yaml.safe_dump(project))
    command = [sys.executable, "-m", "nvflare.lighter.provision", "-p", str(out / "project.yml"), "-w", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    kits = max((out / "fedsynth").glob("prod_*"))
    for party in (server, *names, ADMIN):
        local = kits / party / "local"
        (kits / party / AGREED).write_text(json.dumps({"words": [*words], "own": [], "seconds": seconds}, indent=1))
        resources: dict[str, Any] = json.loads((local / "resources.json.default").read_text())
        resources |= {
            "class_allow_list": [*CLASSES.values()],  # a kit runs no other code
            "allow_log_streaming": False,  # its log stays where it is
            "components": [part for part in resources.get("components", []) if "log" not in part["id"]],
        }
        (local / "resources.json").write_text(json.dumps(resources, indent=1))
    print(f"wrote a kit for each of {server}, {', '.join(names)} and {ADMIN} to {kits}")
    return 0


def join_run(kit: Path, words: Sequence[str]) -> int:
    """Take part with data of one's own, until the server is told to end."""
    given = agreed_in(kit)
    if odd := [word for word in words if not word.lstrip("+").startswith(("dataset=", "dataset."))]:
        raise OptionError(
            f"{odd[0]}: the options of the run are agreed on; a site chooses its data set alone, dataset..."
        )
    run = agreed_run([*given["words"], *words])
    if told := warning(run):
        print(f"fedsynth: {told}")
    with TemporaryDirectory() as folder:  # what fails, fails before the others wait for it
        HospitalSite(run, kit.name, Path(folder))
    (kit / AGREED).write_text(json.dumps(given | {"own": [*words], "where": str(Path.cwd())}, indent=1))
    return start(kit)


def serve(kit: Path) -> int:
    """Run the server. Its jobs are kept in its kit: else all servers of a machine have one folder, and take one another's."""
    path = kit / "local" / "resources.json"
    resources = json.loads(path.read_text())
    resources["snapshot_persistor"]["args"]["storage"]["args"]["root_dir"] = str(kit / "jobs" / "snapshots")
    (manager,) = (part for part in resources["components"] if part["id"] == "job_manager")
    manager["args"]["uri_root"] = str(kit / "jobs" / "stored")
    path.write_text(json.dumps(resources, indent=1))
    return start(kit)


def start(kit: Path) -> int:
    """Run the kit's own process, in the foreground."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.run(
        ["bash", str(kit / "startup" / "sub_start.sh"), "--once"], env=os.environ | {"PATH": path}
    ).returncode


def submit(kit: Path) -> int:
    """Let the parties train, and wait until they have."""
    from nvflare.fuel.flare_api.flare_api import new_secure_session

    names = {*agreed_run(agreed_in(kit)["words"]).scenario.roster().names}
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
        wait_for_server(kit)
        session = new_secure_session(ADMIN, str(kit), timeout=600.0, command_timeout=60.0)
        try:
            while missing := names - {client.name for client in session.get_system_info().client_info}:
                print(f"waiting for {', '.join(sorted(missing))}", flush=True)
                time.sleep(10)
            number = session.submit_job(str(job))
            print(f"job {number} is at work", flush=True)
            session.monitor_job(number)
            status = session.get_job_meta(number)["status"]
        finally:
            session.close()
    done = status == "FINISHED:COMPLETED"
    print(f"job {number}: {status}{'' if done else f'; {REFUSED} or log.txt in the kit of the server says why'}")
    return int(not done)


def wait_for_server(kit: Path) -> None:
    """Return when the server listens: FLARE itself would look for it ever more rarely."""
    admin = json.loads((kit / "startup" / "fed_admin.json").read_text())["admin"]
    while True:
        with suppress(OSError), socket.create_connection((admin["host"], admin["port"]), timeout=10):
            return
        print("waiting for the server", flush=True)
        time.sleep(5)


def export(kit: Path) -> int:
    """Write what the site's model makes of its test subjects, as volumes, below `volumes` in its kit."""
    given = agreed_in(kit)
    run = agreed_run([*given["words"], *given["own"]])
    hospital = HospitalSite(run, kit.name, folder_of(kit, given["words"]))
    with hospital.serving() as site:
        count = write_volumes(run.dataset, [kit.name], synthesised(site), kit / "volumes")
    print(f"wrote {count} volumes to {kit / 'volumes'}")
    return 0


def agreed_in(kit: Path) -> dict[str, Any]:
    """What is agreed on in a kit: the words of the run, the seconds that a site has, and the words of this party alone, with the
    folder in which it said them."""
    found: dict[str, Any] = json.loads((kit / AGREED).read_text())
    return found


def folder_of(kit: Path, words: Sequence[str]) -> Path:
    """Where a party keeps what it has of a run."""
    what = shared_facts(agreed_run(words))["options"]
    return kit / "runs" / sha256(what.encode()).hexdigest()[:12]
