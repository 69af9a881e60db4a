"""What was read of a store's finished runs, kept in `<results>/cache` so that their numbers are parsed once.

A record is taken from there while the size and the times of all its files are those at which it was found intact, and tables go
by the SHA-256 that the record names: what is kept cannot make a wrong table, and may be deleted at any time. Nothing is kept of
a store of fewer than MANY runs, nor where nobody may write.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import finalize

from .record import SCHEMA, Record, read_record, sha256
from .score_table import Index, ScoreTable, index
from .store import Store

MANY = 200  # runs; fewer are read in a second without
BATCH = 500  # runs of a transaction, so that no other process waits for long
SETTLED = 1.0  # seconds since a file's last change: another one in the same tick of the clock could not be told from it
FILES = ("record.json", "scores.csv", "curve.csv")
VERSION = 1  # another number where what is kept of a run, or how, is another
NAME = f"readings-{sha256(repr((VERSION, SCHEMA, [part.name for part in fields(Record)])).encode())[:8]}.sqlite"
TABLES = """
pragma synchronous = off;
create table if not exists records (run text primary key, stamp text, content text, data text);
create table if not exists sheets (digest text primary key, heads text, numbers blob);
"""


class RecordCache:
    """Of the runs of a store. Where the file cannot be used, all is read from the runs."""

    def __init__(self, store: Store) -> None:
        self.path, self._added = store.runs.parent / "cache" / NAME, 0
        self._database: sqlite3.Connection | None = None
        if len(store.names()) >= MANY:
            try:
                self.path.parent.mkdir(exist_ok=True)
                self._database = sqlite3.connect(self.path)
                finalize(self, self._database.close)
                self._database.executescript(TABLES)
            except (OSError, sqlite3.Error) as error:
                self._leave(error)

    def record(self, folder: Path) -> Record:
        """The record of a folder; raises what `read_record` raises."""
        if self._database is None:
            return read_record(folder)
        now, kept = stamp(folder), self._find("select stamp, content, data from records where run = ?", folder.name)
        if kept and kept[0] == now:
            return Record(**json.loads(kept[1]), data=shared(kept[2]))
        record = read_record(folder)
        if now:
            self._keep(folder, record, now)
        return record

    def sheet(self, record: Record, name: str) -> ScoreTable | None:
        """A table of a run, None where it is not there."""
        found = self._find("select heads, numbers from sheets where digest = ?", record.files[name])
        return ScoreTable.unpacked(record.run, *known(found[0]), found[1]) if found else None

    def save(self) -> None:
        """Write what was added, so that other processes have it."""
        if self._database:
            try:
                self._database.commit()
            except sqlite3.Error as error:
                self._leave(error)

    def _find(self, question: str, key: str) -> Any:
        try:
            return self._database.execute(question, (key,)).fetchone() if self._database else None
        except sqlite3.Error as error:
            self._leave(error)

    def _keep(self, folder: Path, record: Record, when: str) -> None:
        """Add a run; its tables are those whose digests the record has, or they are not added."""
        assert self._database
        try:
            for name, digest in record.files.items():
                content = (folder / name).read_bytes()
                if sha256(content) != digest:
                    return
                sheet = ScoreTable.parsed(record.run, content.decode())
                heads = json.dumps([list(sheet.index.columns.items()), list(sheet.numbers)])
                self._database.execute(
                    "insert or replace into sheets values (?, ?, ?)", (digest, heads, sheet.packed())
                )
            told = dict(vars(record))
            parts = (record.run, when, json.dumps(told.pop("data")), json.dumps(told))
            self._database.execute(
                "insert or replace into records (run, stamp, data, content) values (?, ?, ?, ?)", parts
            )
        except (OSError, sqlite3.Error) as error:
            self._leave(error)
        self._added += 1
        if self._added % BATCH == 0:
            self.save()

    def _leave(self, error: Exception) -> None:
        """Do without from now on; silent where others write, or nobody may."""
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            print(f"fedsynth: {self.path} cannot be read ({error}); it only saves time: delete it", file=sys.stderr)
        self._database = None


@lru_cache(maxsize=256)
def shared(data: str) -> dict[str, Any]:
    """`Record.data`: one object for all runs of a federation."""
    found: dict[str, Any] = json.loads(data)
    return found


@lru_cache(maxsize=256)
def known(heads: str) -> tuple[Index, list[str]]:
    """The index and the names of the numbers that `heads` tells."""
    columns, numbers = json.loads(heads)
    return index(tuple(name for name, _ in columns), tuple(tuple(own) for _, own in columns)), numbers


def stamp(folder: Path) -> str:
    """Size and times of a run's files; empty where one is missing or has just changed."""
    try:
        found = [os.stat(f"{folder}/{name}") for name in FILES]
    except FileNotFoundError:
        return ""
    if max(own.st_ctime for own in found) > time.time() - SETTLED:
        return ""
    return " ".join(f"{own.st_size} {own.st_mtime_ns} {own.st_ctime_ns}" for own in found)
