"""Flower carries the messages: a SuperLink at the server and a SuperNode at each site, over TLS, each with a key of its own.

Flower would run whatever code a coordinator sends. Here its processes only carry: what they have to do is taken from them
(`--isolation process`) by a process that runs FedSynth alone.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Array, ArrayRecord, Error, Message, MessageType, RecordDict
from flwr.cli.build import build_fab_from_files
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode, Status, SubStatus
from flwr.common.serde import fab_to_proto, run_from_proto
from flwr.proto.control_pb2 import ListNodesRequest, ListRunsRequest, RegisterNodeRequest, StartRunRequest
from flwr.proto.run_pb2 import RunStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullTaskInputRequest, PushTaskOutputRequest
from flwr.supercore.constant import NodeStatus, TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.retry import RetryInvoker, exponential
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid.http_grid import HttpGrid
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from fedsynth.trainer.site_party import LinkError

from ...config.errors import OptionError
from .work import Worker, agreed_in, lead, wait_for_server

COORDINATOR = "coordinator"
CERTIFICATE, KEY, PUBLIC, SECRET, WHERE = "server.crt", "key", "sites", "secret", "server.json"  # in a kit
POLL, AGAIN = 1.0, 5.0  # seconds between two looks for work, and before a SuperNode that ended is begun anew
APP = """
[project]
name = "fedsynth"
version = "1.0.0"
license = "MIT"
[tool.flwr.app]
publisher = "fedsynth"
[tool.flwr.app.components]
serverapp = "none:none"
clientapp = "none:none"
"""
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}  # else each process reports to its makers


# --- kits ------------------------------------------------------------------------------------------------------------


def keep(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_bytes(content)


def private(key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat) -> bytes:
    """A key as a file has it."""
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def signed(key: ec.EllipticCurvePrivateKey, server: str) -> x509.Certificate:
    """A certificate that the server has signed itself, for its name and for loopback."""
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    try:
        names.append(x509.IPAddress(ip_address(server)))
    except ValueError:
        names.append(x509.DNSName(server))
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fedsynth")])
    now, own = datetime.now(UTC), x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=360))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(own, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        .sign(key, hashes.SHA384())
    )


# --- a party's processes ---------------------------------------------------------------------------------------------


def tied() -> None:
    """Let this process be ended with the one that began it, however that ends; where the system is Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def patience() -> RetryInvoker:
    """Five attempts at a request. Flower's own way would end this process where a task was lost."""
    return RetryInvoker(lambda: exponential(max_delay=5), httpx.TransportError, max_tries=5, max_time=None)


def connected(address: str, certificate: bytes | None, *interceptors: Any) -> RuntimeHttpClient:
    """A client of a party's own SuperLink or SuperNode."""
    return RuntimeHttpClient.from_server_address(
        server_address=address,
        insecure=certificate is None,
        root_certificates=certificate,
        interceptors=[RuntimeVersionHttpInterceptor(component_name="SuperExec"), *interceptors],
        retry_invoker=patience(),
    )


def tokens(
    kit: Path, what: str, words: Sequence[str], address: str, certificate: bytes | None, kind: str
) -> Iterator[str]:
    """Run a process of Flower's; each time that it is asked for a task, the task's token or "", until it ends."""
    secret = SuperExecAuthHttpInterceptor(
        master_secret=(kit / SECRET).read_bytes(), protected_methods={"/flwr.proto.Runtime/AcquireTask"}
    )
    options = ["--isolation", "process", "--superexec-auth-secret-file", str(kit / SECRET)]
    program = f"from flwr.{what}.cli import flower_{what} as main; main()"
    begun = [sys.executable, "-c", program, *words, *options]
    process = subprocess.Popen(begun, env=os.environ | QUIET, preexec_fn=tied)
    try:
        with connected(address, certificate, secret) as client:
            while process.poll() is None:
                with suppress(httpx.HTTPError):
                    yield client.AcquireTask(AcquireTaskRequest(supported_task_types=[kind])).token
                time.sleep(POLL)
    finally:
        process.terminate()


@contextmanager
def alive(client: RuntimeHttpClient) -> Iterator[None]:
    """Inside, a task is known to be at work."""
    beat = HeartbeatSender(make_task_heartbeat_fn_http(client))
    beat.start()
    try:
        yield
    finally:
        beat.stop()


# --- a site ----------------------------------------------------------------------------------------------------------


def answer_task(client: RuntimeHttpClient, worker: Worker) -> None:
    """Answer the request of a task."""
    asked, context, _, _ = pull_task_input(client)
    try:
        reply = Message(as_content(worker.reply(bytes_in(asked))), reply_to=asked)
    except LinkError as error:
        reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, str(error)), reply_to=asked)
    push_message(client, reply, context)
    push_task_output(client, context, SubStatus.COMPLETED, "")


def as_content(content: bytes) -> RecordDict:
    """Bytes as what a message of Flower's holds."""
    return RecordDict({"content": ArrayRecord({"bytes": Array(np.frombuffer(content, np.uint8))})})


def bytes_in(message: Message) -> bytes:
    """The bytes that a message holds."""
    return message.content.array_records["content"]["bytes"].numpy().tobytes()


# --- the server ------------------------------------------------------------------------------------------------------


def admitted(kit: Path, address: str, certificate: bytes) -> bool:
    """Let the sites in whose public keys the kit has; whether all are."""
    with suppress(httpx.HTTPError), control(address, certificate) as client:
        known = {node.public_key for node in client.ListNodes(ListNodesRequest()).nodes_info}
        for name, key in public_keys(kit).items():
            if key not in known:
                client.RegisterNode(RegisterNodeRequest(public_key=key, name=name))
        return True
    return False


def run_task(kit: Path, address: str, certificate: bytes, token: str) -> None:
    """Lead the run of a task. The server outlives one that fails."""
    with connected(address, certificate, RuntimeTokenHttpInterceptor(token)) as client, alive(client):
        given = client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
        TaskIdentity.node_id = SUPERLINK_NODE_ID
        grid = HttpGrid(address, root_certificates=certificate, token=token)
        grid.set_run(run_from_proto(given.run))
        status, details = SubStatus.COMPLETED, ""
        try:
            with ThreadPoolExecutor(len(public_keys(kit))) as pool:
                lead(kit, partial(pool.submit, partial(answer_of, grid, kit)))
        except (Exception, RunNotRunningException) as error:
            logging.getLogger(__name__).exception("the run failed")
            status, details = SubStatus.FAILED, str(error)
        client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=details))


def answer_of(grid: HttpGrid, kit: Path, name: str, request: bytes) -> bytes:
    """What a site answers.

    Raises:
        LinkError: Nothing, within the time that it has.
    """
    nodes = {node.public_key: node.node_id for node in grid.get_nodes()}
    if (key := public_keys(kit)[name]) not in nodes:
        raise LinkError("it is not connected")
    seconds = int(agreed_in(kit)["seconds"])
    asked = Message(as_content(request), nodes[key], MessageType.QUERY, ttl=float(seconds))
    numbers, end = [*grid.push_messages([asked])], time.monotonic() + seconds
    while time.monotonic() < end:
        for reply in grid.pull_messages(numbers):
            if reply.has_error():
                raise LinkError(reply.error.reason)
            return bytes_in(reply)
        time.sleep(POLL)
    raise LinkError(f"no answer within {seconds} s")


def public_keys(kit: Path) -> dict[str, bytes]:
    """The public key of each site, as Flower has it."""
    paths = (kit / PUBLIC).iterdir()
    return {path.name: public_key_to_bytes(serialization.load_ssh_public_key(path.read_bytes())) for path in paths}


# --- the coordinator -------------------------------------------------------------------------------------------------


def control(address: str, certificate: bytes) -> ControlHttpClient:
    """A client of the SuperLink that begins runs and lets SuperNodes in."""
    return ControlHttpClient.from_server_address(
        server_address=address,
        insecure=False,
        root_certificates=certificate,
        interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr-cli")],
        retry_invoker=patience(),
    )


def connected_sites(client: ControlHttpClient) -> set[str]:
    """The sites whose SuperNodes are there, so far as the server says."""
    with suppress(httpx.TransportError):
        nodes = client.ListNodes(ListNodesRequest()).nodes_info
        return {node.name for node in nodes if node.status == NodeStatus.ONLINE}
    return set()


# --- what a party does -----------------------------------------------------------------------------------------------


class Flower:
    """What a party does over Flower."""

    @staticmethod
    def make(out: Path, names: Sequence[str], server: str, port: int) -> dict[str, Path]:
        """Make the kit of each party: the certificate of the server, a key for each site, and for the server the public ones.

        Raises:
            OptionError: There are kits already.
        """
        kits = {party: out / party for party in (server, *names, COORDINATOR)}
        if found := [kit for kit in kits.values() if kit.exists()]:
            raise OptionError(f"{found[0]} is there already; plan another folder, or delete this one with its keys")
        key = ec.generate_private_key(ec.SECP384R1())
        certificate = signed(key, server).public_bytes(serialization.Encoding.PEM)
        for kit in kits.values():
            kit.mkdir(parents=True)
            (kit / CERTIFICATE).write_bytes(certificate)
            (kit / WHERE).write_text(json.dumps({"host": server, "port": port}))
        for party in (server, *names):
            keep(kits[party] / SECRET, secrets.token_hex(32).encode())
        (kits[server] / PUBLIC).mkdir()
        keep(kits[server] / KEY, private(key, serialization.PrivateFormat.PKCS8))
        for name in names:
            own = ec.generate_private_key(ec.SECP384R1())
            keep(kits[name] / KEY, private(own, serialization.PrivateFormat.OpenSSH))
            public = own.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            (kits[server] / PUBLIC / name).write_bytes(public)
        return kits

    @staticmethod
    def join(kit: Path) -> int:
        """Take part until the process is ended. A SuperNode that ends, as where the server does not know it, is begun anew."""
        where, worker = json.loads((kit / WHERE).read_text()), Worker(kit, kit.name)
        while True:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            words = ["--superlink", f"{where['host']}:{where['port']}", "--port", str(port)]
            words += ["--root-certificates", str(kit / CERTIFICATE), "--auth-supernode-private-key", str(kit / KEY)]
            here = f"127.0.0.1:{port}"
            for token in filter(None, tokens(kit, "supernode", words, here, None, TaskType.CLIENT_APP)):
                try:
                    with connected(here, None, RuntimeTokenHttpInterceptor(token)) as client, alive(client):
                        answer_task(client, worker)
                except (httpx.HTTPError, RuntimeError) as error:  # of a run that ended, say
                    logging.getLogger(__name__).warning("a request was lost: %s", error)
            time.sleep(AGAIN)

    @staticmethod
    def serve(kit: Path) -> int:
        """Run the server. It asks the sites whose public keys its kit has, and nobody else."""
        where = json.loads((kit / WHERE).read_text())
        host = "127.0.0.1" if where["host"] == "localhost" else "0.0.0.0"
        words = ["--host", host, "--port", str(where["port"]), "--enable-supernode-auth"]
        words += ["--ssl-certfile", str(kit / CERTIFICATE), "--ssl-ca-certfile", str(kit / CERTIFICATE)]
        words += ["--ssl-keyfile", str(kit / KEY)]
        address, certificate = f"127.0.0.1:{where['port']}", (kit / CERTIFICATE).read_bytes()
        all_in = False
        for token in tokens(kit, "superlink", words, address, certificate, TaskType.SERVER_APP):
            all_in = all_in or admitted(kit, address, certificate)
            if token:
                run_task(kit, address, certificate, token)
        return 1

    @staticmethod
    def train(kit: Path, names: Sequence[str]) -> str:
        """Let the parties train, and wait until they have. Returns what was wrong; nothing if all was well."""
        where = json.loads((kit / WHERE).read_text())
        wait_for_server(where["host"], where["port"])
        app, _ = build_fab_from_files({"pyproject.toml": APP.encode()})  # its code nobody runs, so it has none
        with control(f"{where['host']}:{where['port']}", (kit / CERTIFICATE).read_bytes()) as client:
            while missing := sorted({*names} - connected_sites(client)):
                print(f"waiting for {', '.join(missing)}", flush=True)
                time.sleep(AGAIN)
            request = StartRunRequest(fab=fab_to_proto(Fab(sha256(app).hexdigest(), app, {})))
            number = client.StartRun(request).run_id
            print(f"job {number} is at work", flush=True)
            status = RunStatus()
            while status.status != Status.FINISHED:
                time.sleep(AGAIN)
                with suppress(httpx.TransportError):
                    status = client.ListRuns(ListRunsRequest(run_id=number)).run_dict[number].status
        return "" if status.sub_status == SubStatus.COMPLETED else f"job {number} {status.sub_status}: {status.details}"
