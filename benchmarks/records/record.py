"""What a finished run leaves: `record.json`, and its scores and curve as tables beside it. All are checked when they are written
and when they are read.

`record.json` is written last and appears all at once, so its presence is what *finished* means. It holds the SHA-256 of
both tables and of its own content, and the run's identity, whose hash ends the folder's name. So a record that was edited, cut
short or moved to another name is refused when it is read. The identity is read as today's would be (lifting.py), and is kept in
the file as it was written.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources.abc import Traversable
from operator import itemgetter
from pathlib import Path
from typing import Any
from zipfile import Path as ZipPath

from fedsynth.federation.names import name_fault, text_fault
from fedsynth.runtime.atomic import write_atomically
from fedsynth.runtime.options import TrainerOptions

from .lifting import IdentityError, check_keys, counted, lifted

SCHEMA = 1
TABLES = ("scores.csv", "curve.csv")  # the files beside a record
STATUSES = ("done", "diverged")
SELECTIONS = ("selected", "last")  # the round with the best validation score, and the last one
KEYS = ("selection", "site", "task", "subject")  # of `scores.csv`; its other columns are those of evaluation/columns.py
CURVE = (
    *("round", "site", "loss_generator", "loss_discriminator", "val_psnr", "val_ssim"),
    *("bytes_up", "bytes_down", "seconds", "gradient_evaluations"),
)
COSTS = (
    *("seconds", "peak_memory_bytes", "bytes_up", "bytes_down", "parameters"),
    *("parameters_travelling", "parameters_discriminators", "gradient_evaluations"),
)
DIGITS = 9  # of a score: images are float32, which has seven, and a table prints four
RUN = re.compile(r"[\w.-]{1,200}-[0-9a-f]{12}")  # the name of a run and of its folder
TEXT = frozenset(KEYS)  # every other column is a number
PLAIN = bytes({*range(32, 127)} - {*b"<|`$\\/=@]"}) + b"\n"  # the bytes of most tables
# Of a record as `canonical` writes it: without any of this, none of its texts has a fault.
SUSPICIOUS = re.compile(r'[<|`$\\\x7f]|\]\(|"[=+@ -]| "[],:}]')
NO_NUMBER = re.compile(rb",-(?!\d|inf|nan)")
LARGEST = 100_000_000  # bytes of a table: the scores of 100,000 subjects by every metric are 30 MB
LARGEST_RECORD = 10_000_000  # bytes of a record, which has no line a subject; read, JSON takes twenty times its size

Rows = list[dict[str, Any]]


class RecordError(ValueError):
    """A record that cannot be trusted; the message says which file and what is wrong with it."""


@dataclass(frozen=True)
class Record:
    """The content of `record.json`."""

    run: str  # the folder's name
    identity: dict[str, Any]  # what the run's hash covers: every option and the digests of data and code
    changed: dict[str, dict[str, Any]]  # options of the method and of the network that are not their defaults
    status: str  # one of STATUSES
    reason: str  # why the run diverged, or how far it ended below the floor; else empty
    selected_round: int
    validation_psnr: float  # dB in that round, mean over site-tasks; 0 for a run that diverged
    policy: str  # how the buffers of the network travel
    costs: dict[str, float]
    digest: dict[str, str]  # SHA-256 of the final tensors of each site and of the server
    data: dict[str, Any]  # the size of a slice, and the subjects and slices of each site and split
    environment: dict[str, Any]  # commit, versions, device
    started: str  # UTC, ISO 8601
    finished: str
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 of the tables beside the record
    schema: int = SCHEMA
    tuning: dict[str, Any] = field(default_factory=dict)  # of its options (config/tuned.py); empty: not recorded
    gallery: str = ""  # SHA-256 of its pictures, which do not travel with the record; empty: it has none, or is of old
    below_floor: bool = False  # its last validation lies below copying the source; such a run once counted as diverged

    @property
    def local_steps(self) -> float:
        """The fewest local steps that a site trains in the whole run."""
        trainer, sizes = self.identity["trainer"], self.data["subjects_and_slices"].values()
        budget = TrainerOptions(**{name: trainer[name] for name in ("local_epochs", "local_steps", "batch")})
        return min(budget.steps(splits["train"][1]) for splits in sizes) * trainer["rounds"] * trainer["participation"]

    @property
    def naming(self) -> dict[str, str]:
        """Site -> whose names its subjects have (`Dataset.naming`). Records from before that was written have those that the data
        gave, or are simulated."""
        before = "simulated" if self.identity["dataset"]["name"] == "phantom" else "given"
        return dict(self.data.get("naming") or dict.fromkeys(self.data["subjects_and_slices"], before))

    @property
    def simulated(self) -> bool:
        """Whether nobody's images were in it."""
        return {*self.naming.values()} == {"simulated"}

    @property
    def salts(self) -> dict[str, str]:
        """Site -> the mark of the salt of its subjects' pseudonyms. Under another salt the same subject has another name."""
        return {site: own for site, own in sorted(self.naming.items()) if own.startswith("salted-")}

    def check(self) -> None:
        """Raises RecordError for the first field that is not as it must be."""
        kinds = {"str": str, "int": int, "float": float, "dict": dict, "bool": bool}
        for entry in fields(self):
            value, kind = getattr(self, entry.name), kinds[str(entry.type).partition("[")[0]]
            if type(value) is not kind:
                raise RecordError(f"{self.run}: {entry.name} is {value!r}, not of type {kind.__name__}")
        if self.schema != SCHEMA:
            raise RecordError(f"{self.run}: schema {self.schema}, but this version reads {SCHEMA}")
        if self.status not in STATUSES:
            raise RecordError(f"{self.run}: status {self.status!r}, not one of {', '.join(STATUSES)}")
        if unknown := sorted(self.files.keys() - {*TABLES}):
            raise RecordError(f"{self.run}: its seal covers {unknown[0]!r}, which is none of {', '.join(TABLES)}")
        if missing := [cost for cost in COSTS if not math.isfinite(self.costs.get(cost, math.nan))]:
            raise RecordError(f"{self.run}: the cost {missing[0]!r} is missing or not finite")
        self._check_identity()

    def check_texts(self) -> None:
        """Raises RecordError for the first text, at any depth, that no record may hold."""
        for text in texts(vars(self)):
            if fault := text_fault(text):
                raise RecordError(f"{self.run}: the text {text[:80]!r} {fault}, which no record may hold")

    def _check_identity(self) -> None:
        """Raises RecordError for an identity that this version cannot read, or that has another hash than the name."""
        try:
            check_keys(self.identity)
        except IdentityError as error:
            raise RecordError(f"{self.run}: {error}") from error
        if not self.run.endswith("-" + (found := run_hash(self.identity))):
            raise RecordError(f"{self.run}: its identity has the hash {found}, not that of its name")

    def check_scores(self, scores: Rows) -> None:
        """Raises RecordError unless there is one finite score for each selection, site, task and test subject."""
        self.check_subjects(Counter((row["selection"], row["site"], row["task"]) for row in scores))
        seen = set()
        for row in scores:
            key = tuple(row[column] for column in KEYS)
            if key in seen or not (math.isfinite(row["psnr"]) and math.isfinite(row["ssim"])):
                raise RecordError(f"{self.run}: the score of {key} is {'repeated' if key in seen else 'not finite'}")
            seen.add(key)

    def check_subjects(self, counted: Mapping[tuple[str, str, str], int]) -> None:
        """Raises RecordError unless every test subject of each selection, site and task has a score; `counted` says how many
        have."""
        scenario = self.identity["scenario"]
        if different := {*expected_scores(scenario)} ^ counted.keys() - welcome_scores(scenario):
            raise RecordError(f"{self.run}: scores of {min(different)} are missing or not of this scenario")
        for (selection, site, task), count in counted.items():
            sizes = self.data["subjects_and_slices"].get(site)  # it has none of newcomers
            if sizes and count != sizes["test"][0]:
                raise RecordError(
                    f"{self.run}: {count} test subjects of {site} {task} ({selection}) have scores, and it has"
                    f" {sizes['test'][0]}"
                )


def texts(value: Any) -> Iterator[str]:
    """Every text in a value as JSON holds it, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def expected_scores(scenario: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The (selection, site, task) for which every run of a scenario has scores."""
    poisoned = scenario.get("poisoned", ())
    tasks = {site: own for site, own in scenario["tasks"].items() if site not in poisoned}
    sites = [*SELECTIONS, *(f"from-{site}" for site in tasks if scenario.get("across"))]
    yield from (
        (name, site, task) for name in sites for site in tasks for task in tasks[site] if name != f"from-{site}"
    )
    yield from (("asked", site, task) for site, own in scenario.get("asks", {}).items() for task in own)
    for site, own in scenario.get("newcomers", {}).items():
        yield from ((f"adapted-{count}", site, task) for count in scenario["adapt"] for task in own)


def welcome_scores(scenario: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    """The (selection, site, task) for which a run has scores only if its method sends something to newcomers."""
    return {("welcome", site, task) for site, own in scenario.get("newcomers", {}).items() for task in own}


def canonical(value: object) -> str:
    """JSON with sorted keys: the same text for the same value."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fingerprint(value: object) -> str:
    """A digest of anything that JSON holds, 12 hexadecimal digits."""
    return sha256(canonical(value).encode())[:12]


def run_hash(identity: Mapping[str, Any]) -> str:
    """The hash that ends a run's name, of an identity as it was written."""
    return fingerprint(counted(identity))


def run_label(identity: Mapping[str, Any]) -> str:
    """A run's name without its hash."""
    return re.sub(r"[^\w.-]", "_", f"{identity['method']['name']}-{identity['scenario']['name']}-s{identity['seed']}")


def run_name(identity: Mapping[str, Any]) -> str:
    """The name of the run and of its folder: readable, and unique by the hash at its end."""
    return f"{run_label(identity)}-{run_hash(identity)}"


def write_record(folder: Path, record: Record, scores: Rows, curve: Rows) -> Record:
    """Write both tables, then the record; returns it with the tables' digests. Raises RecordError if one is incomplete."""
    if not (scores and curve):
        raise RecordError(f"{record.run}: its {'scores have' if curve else 'curve has'} no row")
    columns = tuple(dict.fromkeys((*KEYS, *scores[0])))
    tables = {"scores.csv": csv_of_rows(scores, columns), "curve.csv": csv_of_rows(curve, CURVE)}
    record = replace(record, files={name: sha256(content) for name, content in tables.items()})
    record.check()
    record.check_texts()
    record.check_scores(scores)
    for name, content in tables.items():
        write_atomically(folder / name, content)
    write_atomically(folder / "record.json", sealed(record))
    return record


def sealed(record: Record) -> bytes:
    """The content of `record.json`."""
    facts = asdict(record)
    return json.dumps(facts | {"seal": sha256(canonical(facts).encode())}, indent=1, allow_nan=False).encode()


def read_record(folder: Traversable) -> Record:
    """The record of a folder. Raises RecordError for one that is damaged, FileNotFoundError where there is none."""
    return read_with_tables(folder)[0]


def read_with_tables(folder: Traversable) -> tuple[Record, dict[str, bytes]]:
    """The record of a folder, and its tables as they lie there. Raises what `read_record` raises."""
    path = folder.joinpath("record.json")
    remedy = "the same command again sets it aside and trains anew"
    try:
        content = json.loads(read_file(folder, path.name))
        seal = content.pop("seal")
        record, told = Record(**content), canonical(content)
        intact = seal == sha256(told.encode())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, PermissionError) as error:
        raise RecordError(f"{path}: not a record ({type(error).__name__}: {error}); {remedy}") from error
    if not intact:
        raise RecordError(f"{path}: not what the run wrote; {remedy}")
    if record.run != folder.name:
        raise RecordError(f"{path}: the record of {record.run}; move it back, or {remedy}")
    record.check()
    if SUSPICIOUS.search(told):
        record.check_texts()
    tables = {}
    for name, digest in record.files.items():
        try:
            table = tables[name] = read_file(folder, name)
        except (FileNotFoundError, PermissionError, RecordError):
            table = b""
        if sha256(table) != digest:
            raise RecordError(f"{folder / name}: missing or not what the run wrote; {remedy}")
        if fault := _fault_of_names(table):
            raise RecordError(f"{folder / name}: {fault}")
        if name == TABLES[0]:
            _check_subjects(record, table)
    return replace(record, identity=lifted(record.identity)), tables


def read_file(folder: Traversable, name: str) -> bytes:
    """The content of a file of a run. Raises FileNotFoundError where there is none; RecordError, before it is read, for one that
    is too large or is a pipe, a folder or a device, and for what an archive cannot give."""
    path = folder.joinpath(name)
    if not isinstance(path, ZipPath):
        found = os.stat(str(path))
        if not stat.S_ISREG(found.st_mode):
            raise RecordError(f"{name} is no ordinary file")
        check_size(name, found.st_size)
        with path.open("rb") as file:
            return bytes(file.read(found.st_size))  # no more: a file of /proc has no end
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        check_size(name, path.root.getinfo(path.at).file_size)
        return path.read_bytes()
    except Exception as error:  # a stranger's archive may break its reader in any way
        raise RecordError(f"{name} cannot be read: {error}") from error


def check_size(name: str, size: int) -> None:
    """Raises RecordError for more bytes than such a file of a run has."""
    most = LARGEST_RECORD if name == "record.json" else LARGEST
    if size > most:
        raise RecordError(f"{name} has {size / 1e6:,.0f} MB, and no such file of a run has more than {most / 1e6:.0f}")


def _fault_of_names(table: bytes) -> str:
    """Why a table may not hold the names that it holds; empty if it may. Where no byte is suspicious they are not read."""
    if not (table.translate(None, PLAIN) or (b"+" in table and b",+" in table) or NO_NUMBER.search(table)):
        return ""
    try:
        rows = csv.DictReader(io.StringIO(table.decode(), newline=""), strict=True)
        names = {str(row[column]) for row in rows for column in TEXT & row.keys()}
    except (UnicodeDecodeError, csv.Error) as error:
        return f"not a table ({error})"
    faults = (f"the name {name[:80]!r} {fault}" for name in sorted(names) if (fault := name_fault(name)))
    return next(faults, "")


def _check_subjects(record: Record, table: bytes) -> None:
    """Raises RecordError for a `scores.csv` that lacks test subjects, or is no table of scores. Where it has as many lines as it
    must have, they are not taken apart: a subject that is there twice shows when scores are asked for."""
    try:
        sizes, expected = record.data["subjects_and_slices"], [*expected_scores(record.identity["scenario"])]
        known = [sizes[site]["test"][0] for _, site, _ in expected if site in sizes]  # nothing is known of newcomers
        if len(known) == len(expected) and table.count(b"\n") == sum(known) + 1:
            return
        lines = table.decode().splitlines()[1:]
        cells = csv.reader(lines) if b'"' in table else [line.split(",", 3) for line in lines]
        record.check_subjects(Counter(map(itemgetter(0, 1, 2), cells)))
    except RecordError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        raise RecordError(f"{record.run}: its scores are none of its scenario ({error!r})") from error


def read_scores(folder: Traversable) -> Rows:
    """One row for each selection, site, task and test subject."""
    return rows_of_csv((folder / "scores.csv").read_text())


def read_curve(folder: Traversable) -> Rows:
    """One row for each round and site."""
    return rows_of_csv((folder / "curve.csv").read_text())


def csv_of_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """Rows as CSV, floats with DIGITS digits. Raises RecordError for a row with other columns."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        if set(row) != set(columns):
            raise RecordError(f"a row has the columns {sorted(row)}, not {sorted(columns)}")
        writer.writerow([row[name] if name in TEXT else _cell(row[name]) for name in columns])
    return out.getvalue().encode()


def rows_of_csv(text: str) -> Rows:
    """The rows that `csv_of_rows` wrote; every number comes back as a float."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return [{name: cell if name in TEXT else float(cell) for name, cell in row.items()} for row in rows]


def _cell(value: Any) -> str:
    """A number of Python, numpy or torch as text."""
    return str(value) if type(value) is int else f"{float(value):.{DIGITS}g}"
