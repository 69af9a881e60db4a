"""A cache of what finished runs say, in `<results>/cache`, so that their numbers are parsed once.

A record is taken from the cache while the size and the times of all its files are those at which it was found intact. A table is
found by the SHA-256 that the record names. So the cache cannot make a wrong table, and may be deleted at any time. There is none
for a store of fewer than MANY runs, nor where the folder cannot be written.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from functools import lru_cache
from importlib.resources.abc import Traversable
from typing import Any
from weakref import finalize
from zlib import crc32

from .archive import FILES
from .lifting import LATER, NEWEST
from .record import SCHEMA, Record, read_record, read_with_tables, sha256
from .score_table import Index, ScoreTable, index_of
from .store import Store

MANY = 200  # runs; fewer are read in a second without a cache
BATCH = 500  # runs of a transaction, so that no other process waits for long
SETTLED = (
    1.0  # seconds since a file's last change: a second change in the same tick of the clock would not show in its times
)
VERSION = 5  # to be raised when other things of a run are cached, or in another form
NAME = f"records-{sha256(repr((VERSION, SCHEMA, NEWEST, LATER, [part.name for part in fields(Record)])).encode())[:8]}.sqlite"
TABLES = """
pragma synchronous = off;
create table if not exists records (run text primary key, stamp text, content text, data text, sum integer);
create table if not exists score_tables (digest text primary key, heads text, numbers blob, sum integer);
"""


class RecordCache:
    """The cache of a store. Where its file cannot be used, everything is read from the runs."""

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
                self._disable(error)

    def record(self, folder: Traversable) -> Record:
        """The record of a run's folder. Raises what `read_record` raises."""
        if self._database is None:
            return read_record(folder)
        now = _stamp(folder)
        cached = self._find("select stamp, content, data, sum from records where run = ?", folder.name)
        if cached and cached[0] == now:
            return Record(**json.loads(cached[1]), data=_shared_data(cached[2]))
        record, tables = read_with_tables(folder)
        if now and self._database is not None:  # it was damaged perhaps
            self._add(record, tables, now)
        return record

    def score_table(self, record: Record, name: str) -> ScoreTable | None:
        """A table of a run; None where it is not in the cache."""
        found = self._find("select heads, numbers, sum from score_tables where digest = ?", record.files[name])
        return ScoreTable.unpacked(record.run, *_parsed_heads(found[0]), found[1]) if found else None

    def save(self) -> None:
        """Write what was added, so that other processes have it."""
        if self._database:
            try:
                self._database.commit()
            except sqlite3.Error as error:
                self._disable(error)

    def _find(self, query: str, key: str) -> Any:
        try:
            row = self._database.execute(query, (key,)).fetchone() if self._database else None
            if row and _sum(*row[:-1]) != row[-1]:
                raise sqlite3.DatabaseError(f"what it has of {key} is not what was written")
            return row
        except sqlite3.Error as error:
            self._disable(error)

    def _add(self, record: Record, tables: Mapping[str, bytes], stamp: str) -> None:
        """Add a run with its tables."""
        assert self._database
        try:
            for name, digest in record.files.items():
                table = ScoreTable.parsed(record.run, tables[name].decode())
                heads = json.dumps([list(table.index.columns.items()), list(table.numbers)])
                numbers = table.packed()
                row = (digest, heads, numbers, _sum(heads, numbers))
                self._database.execute("insert or replace into score_tables values (?, ?, ?, ?)", row)
            facts = dict(vars(record))
            data = json.dumps(facts.pop("data"))
            parts = stamp, json.dumps(facts), data
            whole = (record.run, *parts, _sum(*parts))
            self._database.execute("insert or replace into records values (?, ?, ?, ?, ?)", whole)
        except (OSError, sqlite3.Error) as error:
            self._disable(error)
        self._added += 1
        if self._added % BATCH == 0:
            self.save()

    def _disable(self, error: Exception) -> None:
        """Do without the cache from now on. This is silent where another process writes it, or where nobody may write. A damaged
        one is deleted, and the next command makes it again."""
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            print(f"fedsynth: {self.path} was damaged ({error}); the next command makes it again", file=sys.stderr)
            with suppress(OSError):
                self.path.unlink()
        self._database = None


def _sum(*parts: str | bytes) -> int:
    """A checksum of a row, against bits that a disk lost."""
    found = 0
    for part in parts:
        found = crc32(part.encode() if isinstance(part, str) else part, found)
    return found


@lru_cache(maxsize=256)
def _shared_data(data: str) -> dict[str, Any]:
    """`Record.data`: one object for all runs of a federation."""
    found: dict[str, Any] = json.loads(data)
    return found


@lru_cache(maxsize=256)
def _parsed_heads(heads: str) -> tuple[Index, list[str]]:
    """The index and the names of the number columns from `heads`, their JSON."""
    columns, numbers = json.loads(heads)
    return index_of(tuple(name for name, _ in columns), tuple(tuple(own) for _, own in columns)), numbers


def _stamp(folder: Traversable) -> str:
    """The size and times of a run's files; empty where one is missing, has just changed or lies in an archive."""
    try:
        found = [os.stat(f"{folder}/{name}") for name in FILES]
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if max(own.st_ctime for own in found) > time.time() - SETTLED:
        return ""
    return " ".join(f"{own.st_size} {own.st_mtime_ns} {own.st_ctime_ns}" for own in found)
