"""A SLURM of two nodes on this machine, for tests of sweeps on a scheduler. It needs root, and Debian's packages:

    apt-get install slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge

All that it has lies in one folder; a SLURM that the machine has already is not touched. By hand:

    python tests/support/slurm.py FOLDER

prints the variable by which SLURM's commands find it, and takes it down when its input ends.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

PROC = Path("/proc")
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
SYSTEM = "/usr/sbin:/sbin"  # where Debian has the daemons
NODES = ("n1", "n2")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
SlurmdParameters=config_overrides
ReturnToService=2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdTimeout=10
MinJobAge=86400
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0
{nodes}
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE MaxTime=INFINITE
PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE
"""


def missing() -> str:
    """Why there can be no SLURM here; empty where there can."""
    absent = [name for name in NEEDED if not shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM}")]
    if absent:
        return f"needs {', '.join(absent)}; tests/support/slurm.py names the packages"
    return "" if os.geteuid() == 0 else "needs root, which SLURM's daemons run as"


class Slurm:
    """Two nodes with two cores each, up as long as the context is open. Its commands take `environment`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM}",
        }
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Slurm:
        munge = self.folder / "munge"
        for path in (munge, self.folder / "state", *(self.folder / node for node in NODES)):
            path.mkdir(parents=True, mode=0o755)
        (munge / "key").write_bytes(secrets.token_bytes(128))
        (munge / "key").chmod(0o600)
        host, (port, *ports) = socket.gethostname().partition(".")[0], free_ports(1 + len(NODES))
        nodes = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={own} CPUs=2 RealMemory=1000"
            for node, own in zip(NODES, ports, strict=True)
        ]
        text = CONFIGURATION.format(host=host, port=port, folder=self.folder, nodes="\n".join(nodes))
        (self.folder / "slurm.conf").write_text(text)
        try:
            own = ("key-file", "socket", "pid-file", "log-file", "seed-file")
            self.begin("munged", "-F", "-f", *(f"--{name}={munge / name.partition('-')[0]}" for name in own))
            until(lambda: (munge / "socket").exists(), "munged gives no socket")
            self.begin("slurmctld", "-D", "-i", "-f", str(self.folder / "slurm.conf"))
            for node in NODES:
                self.revive(node)
            until(lambda: self.idle() == set(NODES), "no idle nodes; its logs are beside slurm.conf")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(subprocess.SubprocessError):
            self.ask("scancel", "--user=root")
            until(lambda: not self.jobs("R,CG"), "jobs go on", 20)
        for node in NODES:
            self.kill(node)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            daemon.wait(20)

    def begin(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}{len(self.daemons)}.log").open("ab") as log:
            self.daemons[" ".join((name, *words))] = subprocess.Popen(
                [name, *words], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def ask(self, *command: str) -> str:
        """What a command of SLURM's prints. Raises CalledProcessError if it fails, and TimeoutExpired if it gives no answer."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True, timeout=600)
        return done.stdout

    def idle(self) -> set[str]:
        with suppress(subprocess.SubprocessError):  # the controller is not there yet
            return set(self.ask("sinfo", "-h", "-N", "-p", "main", "-t", "idle", "-o", "%N").split())
        return set()

    def jobs(self, states: str = "R") -> dict[str, str]:
        """Jobs in such states, each with its node."""
        lines = self.ask("squeue", "-h", "-t", states, "-o", "%A %N").splitlines()
        return {job: node for job, _, node in (line.partition(" ") for line in lines)}

    def fact(self, job: str, name: str) -> str:
        """What SLURM says of a job: JobState, Restarts, ..."""
        words = self.ask("scontrol", "-o", "show", "job", job).split()
        return next(word.partition("=")[2] for word in words if word.startswith(f"{name}="))

    def name(self, job: str) -> str:
        """A job as scancel knows it: one of an array by the array's number and its own."""
        return dict(line.split() for line in self.ask("squeue", "-h", "-o", "%A %i").splitlines())[job]

    def hasten(self) -> None:
        """Begin at once with jobs that SLURM begins again; by itself it waits two minutes."""
        for job in self.jobs("PD"):
            with suppress(subprocess.CalledProcessError):  # of an array's jobs that wait for their first turn
                self.ask("scontrol", "update", f"jobid={job}", "starttime=now")

    def cancels(self, pid: int, job: str) -> None:
        self.ask("scancel", self.name(job))
        until(lambda: self.fact(job, "JobState") == "CANCELLED", f"job {job} goes on")

    def expires(self, pid: int, job: str) -> None:
        """The job's time is over: by the minute, and SLURM looks every half."""
        self.ask("scontrol", "update", f"jobid={self.name(job)}", "timelimit=1")
        until(lambda: self.fact(job, "JobState") == "TIMEOUT", f"job {job} goes on", 180)

    def preempts(self, pid: int, job: str) -> None:
        """Every node is wanted for more urgent work, and the jobs begin again after it."""
        words = ("-p", "urgent", "-N", str(len(NODES)), "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
        self.ask("sbatch", "--wait", *words)
        assert int(self.fact(job, "Restarts")) > 0
        self.hasten()

    def loses_a_node(self, pid: int, job: str) -> None:
        """A node dies, is missed, and comes back; its jobs begin again."""
        node = self.fact(job, "NodeList")
        self.kill(node)
        until(lambda: int(self.fact(job, "Restarts")) > 0, f"nobody misses {node}")
        self.revive(node)
        self.hasten()

    def kill(self, node: str) -> None:
        """A node dies: its daemon, and every process of its jobs."""
        words = f"slurmd -D -N {node}"
        if words in self.daemons:
            daemon = self.daemons.pop(words)
            daemon.kill()
            daemon.wait()
        for pid in processes(node):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def revive(self, node: str) -> None:
        self.begin("slurmd", "-D", "-N", node)


def processes(node: str) -> Iterator[int]:
    """The processes of a node's jobs, each after the one that looks after its job."""
    for path in PROC.glob("[0-9]*"):
        with suppress(OSError):
            if f"SLURMD_NODENAME={node}\0".encode() in (path / "environ").read_bytes():
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                if (PROC / str(parent) / "comm").read_text().startswith("slurmstepd"):
                    yield parent
                yield int(path.name)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [own.getsockname()[1] for own in sockets]
    for own in sockets:
        own.close()
    return ports


def until(condition: Callable[[], Any], complaint: str, seconds: float = 60) -> Any:
    """What a condition gives, once it is true. Raises TimeoutError with the complaint."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:.0f} s: {complaint}")
        time.sleep(0.2)
    return found


if __name__ == "__main__":
    if reason := missing():
        sys.exit(reason)
    with Slurm(Path(sys.argv[1]).absolute()) as slurm:
        print(f"export SLURM_CONF={slurm.environment['SLURM_CONF']}", flush=True)
        sys.stdin.read()
