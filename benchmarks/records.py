"""What a finished run leaves: `record.json` with its scores, curve and gallery beside it. Checked when written and when read.

`record.json` is written last and appears all at once, so its presence is what *finished* means. It holds the SHA-256 of
the tables beside it and the run's identity, whose hash ends the folder's name: a record that was edited, cut short or
moved to another name is refused when it is read.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

SCHEMA = 1
FINISHED = ("done", "diverged")
METRICS = ("psnr", "ssim", "nmse", "mae", "psnr_fg", "ssim_fg", "nmse_fg", "mae_fg")
SCORES = ("selection", "site", "task", "subject", *METRICS)
CURVE = (
    *("round", "site", "loss_generator", "loss_discriminator", "val_psnr", "val_ssim"),
    *("bytes_up", "bytes_down", "seconds", "gradient_evaluations"),
)
COSTS = (
    *("seconds", "peak_memory_bytes", "bytes_up", "bytes_down", "parameters"),
    *("parameters_travelling", "parameters_discriminators", "gradient_evaluations"),
)
TEXT = frozenset({"selection", "site", "task", "subject"})  # every other column is a number


class RecordError(ValueError):
    """A record that cannot be trusted; the message says which file and what is wrong with it."""


@dataclass(frozen=True)
class Record:
    """The content of `record.json`."""

    run: str  # the folder's name
    identity: dict[str, Any]  # what the run's hash covers: every resolved option and the digests of the code
    changed: dict[str, dict[str, Any]]  # options of the method and of the network that are not their defaults
    status: str  # one of FINISHED
    reason: str  # why a run diverged; else empty
    selected_round: int
    policy: str  # how buffers travel
    costs: dict[str, float]
    digest: dict[str, str]  # SHA-256 of the final tensors, by site, and the server's
    data: dict[str, Any]  # size of a slice; subjects and slices a site and split
    environment: dict[str, Any]  # commit, versions, device
    started: str  # UTC, ISO 8601
    finished: str
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 of the tables beside the record
    schema: int = SCHEMA

    def check(self) -> None:
        """Raises RecordError for the first thing that is not as it must be."""
        kinds = {"str": str, "int": int, "dict": dict}
        for entry in fields(self):
            value, kind = getattr(self, entry.name), kinds[str(entry.type).partition("[")[0]]
            if type(value) is not kind:
                raise RecordError(f"{self.run}: {entry.name} is {value!r}, not of type {kind.__name__}")
        if self.schema != SCHEMA:
            raise RecordError(f"{self.run}: schema {self.schema}, but this version reads {SCHEMA}")
        if self.status not in FINISHED:
            raise RecordError(f"{self.run}: status {self.status!r}, not one of {', '.join(FINISHED)}")
        if missing := [cost for cost in COSTS if not math.isfinite(self.costs.get(cost, math.nan))]:
            raise RecordError(f"{self.run}: the cost {missing[0]!r} is missing or not finite")
        if not self.run.endswith("-" + fingerprint(self.identity)):
            raise RecordError(f"{self.run}: the recorded identity has the hash {fingerprint(self.identity)}, not its name's")


def canonical(value: object) -> str:
    """JSON in which the order of keys does not matter."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


def fingerprint(identity: Mapping[str, Any]) -> str:
    """The hash that ends a run's name, 12 hexadecimal digits."""
    return hashlib.sha256(canonical(identity).encode()).hexdigest()[:12]


def write_atomically(path: Path, content: bytes) -> None:
    """The whole file or none of it, on disk when this returns."""
    scratch = path.with_name(f".{path.name}.partial")
    with scratch.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_record(folder: Path, record: Record, scores: Iterable[Mapping[str, Any]], curve: Iterable[Mapping[str, Any]]) -> Record:
    """Write both tables, then the record; returns it with the tables' digests."""
    tables = {"scores.csv": to_csv(scores, SCORES), "curve.csv": to_csv(curve, CURVE)}
    for name, content in tables.items():
        from_csv(content.decode(), folder / name)
        write_atomically(folder / name, content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in tables.items()}
    record = Record(**{**asdict(record), "files": digests})
    record.check()
    write_atomically(folder / "record.json", json.dumps(asdict(record), indent=1, allow_nan=False).encode())
    return record


def read_record(folder: Path) -> Record:
    """The record of a folder. Raises RecordError for one that is damaged, FileNotFoundError where there is none."""
    path = folder / "record.json"
    try:
        content = json.loads(path.read_text())
        record = Record(**content)
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise RecordError(f"{path}: not a record ({error}); delete the folder and run the same command again") from error
    if record.run != folder.name:
        raise RecordError(f"{path}: is the record of {record.run}")
    record.check()
    for name, digest in record.files.items():
        if not (folder / name).is_file() or hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise RecordError(f"{folder / name}: is missing or not what the run wrote; delete the folder and run again")
    return record


def read_scores(folder: Path) -> list[dict[str, Any]]:
    """One row a selection, site, task and test subject."""
    return from_csv((folder / "scores.csv").read_text(), folder / "scores.csv")


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """One row a round and site."""
    return from_csv((folder / "curve.csv").read_text(), folder / "curve.csv")


def to_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """Rows as CSV; floats keep every digit. Raises RecordError for a row with other columns."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        if set(row) != set(columns):
            raise RecordError(f"a row has the columns {sorted(row)}, not {sorted(columns)}")
        writer.writerow([row[column] if column in TEXT else repr(number(row[column])) for column in columns])
    return out.getvalue().encode()


def from_csv(text: str, path: Path) -> list[dict[str, Any]]:
    """The rows of a table. Raises RecordError where there is none or a cell is not a number."""
    try:
        rows: list[dict[str, Any]] = [
            {column: cell if column in TEXT else float(cell) for column, cell in row.items()} for row in csv.DictReader(io.StringIO(text))
        ]
    except (TypeError, ValueError) as error:
        raise RecordError(f"{path}: {error}") from error
    if not rows:
        raise RecordError(f"{path}: holds no row")
    return rows


def number(value: Any) -> int | float:
    """A plain number from numpy's or torch's scalars."""
    return value if isinstance(value, int) and not isinstance(value, bool) else float(value)
