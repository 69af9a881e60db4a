"""`fedsynth records merge`: brings records of other stores into this one, from files of `fedsynth records pack` or folders.

Each record is checked as it is whenever it is read, and its scores for being complete. A record that was edited, cut short or
renamed is refused by name, and so is one of a row and seed that are here with other scores, whatever its date: a record never
replaces ours. All others are taken. A run appears all at once, so an interrupted merge leaves no half of one, and the same
command continues it. Models and images are not part of a record.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile

from tqdm import tqdm

from fedsynth.federation.names import visible
from fedsynth.runtime.atomic import flush, write_atomically

from ..records.agreement import agree
from ..records.archive import FILES
from ..records.cache import RecordCache
from ..records.finished import FinishedRun
from ..records.record import (
    RUN,
    Record,
    RecordError,
    canonical,
    check_size,
    read_curve,
    read_file,
    read_record,
    read_scores,
)
from ..records.store import Store
from ..tables.table import comparable, row_and_seed, tables
from .plausible import check_plausible


class NotTaken(ValueError):
    """A record or a source is not taken; the message says why."""


@dataclass(frozen=True)
class FoundRecord:
    """A folder with a record, in a zip file or on disk."""

    run: str  # the folder's name
    origin: str  # where it was found, for messages
    read: Callable[[str], bytes]  # the content of a file in the folder


def main(sources: Sequence[Path], results: Path) -> int:
    """Merge, and say how many records were taken; 1 if anything was refused or nothing was found."""
    count = merge(sources, Store(results))
    total = "taken", "there already", "refused"
    print(f"{', '.join(f'{count[state]} {state}' for state in total)}: runs in {Store(results).runs}")
    return int(bool(count["refused"]) or not count)


def merge(sources: Sequence[Path], store: Store) -> Counter[str]:
    """Bring every record that the sources hold into the store.

    Returns how many were "taken", "there already" and "refused"; says on standard error why one is refused.
    """
    count: Counter[str] = Counter()
    store.runs.mkdir(parents=True, exist_ok=True)
    here = known_runs(store)

    def refuse(origin: str, reason: object) -> None:
        count["refused"] += 1
        tqdm.write(visible(f"fedsynth: refused: {origin}: {reason}"), file=sys.stderr)

    for source in sources:
        try:
            for found in tqdm(find_records(source, refuse), str(source), unit="run", leave=False, disable=None):
                try:
                    count[merge_record(found, store, here)] += 1
                except NotTaken as error:
                    refuse(found.origin, error)
        except (
            Exception
        ) as error:  # a stranger's file may break its reader in any way, and never ends the merge of the next
            refuse(str(source), error)
    return count


def find_records(source: Path, refuse: Callable[[str, object], None]) -> Iterator[FoundRecord]:
    """Every folder with a `record.json`, at any depth, and in the archives of a published table. Raises NotTaken where there is
    none, BadZipFile, OSError."""
    any_found = False
    if source.is_dir():
        for folder in sorted(path.parent for path in source.resolve().rglob("record.json")):
            any_found = True
            yield FoundRecord(folder.name, str(folder), partial(read_file, folder))
        for table in sorted(source.resolve().rglob("records*.zip")):
            any_found = True
            try:
                yield from find_records(table, refuse)
            except (NotTaken, BadZipFile, OSError) as error:
                refuse(str(table), error)
    else:
        with ZipFile(source) as archive:
            for member in sorted(set(archive.namelist())):
                inside = PurePosixPath(member)
                if escapes_folder(member):
                    any_found = True
                    refuse(f"{source}: {member}", "a path that leads out of the folder into which it is unpacked")
                elif inside.name == "record.json":
                    any_found = True
                    read = partial(_read_from_archive, archive, inside.parent)
                    yield FoundRecord(inside.parent.name, f"{source}: {inside.parent}", read)
    if not any_found:
        raise NotTaken("no record.json in it; give what `fedsynth records pack` wrote, or a folder with finished runs")


def _read_from_archive(archive: ZipFile, folder: PurePosixPath, name: str) -> bytes:
    member = archive.getinfo(str(folder / name))
    check_size(name, member.file_size)
    return archive.read(member)


def escapes_folder(member: str) -> bool:
    """Whether a path in a zip file would lie outside of the folder into which it is unpacked, on any system."""
    path = PurePosixPath(member.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1])


class Known(NamedTuple):
    """The finished runs of a store, one of each kind."""

    rows: dict[str, FinishedRun]  # by row and seed
    tables: dict[str, FinishedRun]  # by what all runs of a table have in common

    def add(self, run: FinishedRun) -> None:
        self.rows.setdefault(row_and_seed(run.record), run)
        self.tables.setdefault(canonical(comparable(run.record)), run)


def known_runs(store: Store) -> Known:
    """The finished runs of a store."""
    cache, found = RecordCache(store), Known({}, {})
    records = store.records((), cache.record)[0]
    cache.save()
    for record in records:
        found.add(FinishedRun(record, store.kept(record.run)))
    return found


def merge_record(found: FoundRecord, store: Store, here: Known) -> str:
    """Bring a run into the store; returns "taken" or "there already". `here`: the runs of the store.

    Raises NotTaken, and OSError where the store cannot be written.
    """
    if not RUN.fullmatch(found.run):
        raise NotTaken(f"{found.run!r} is not the name of a run; a record lies in the folder of its run")
    with TemporaryDirectory(prefix=".merge-", dir=store.runs.parent) as scratch:
        folder = Path(scratch) / found.run
        folder.mkdir()
        for name, content in _read_files(found).items():
            write_atomically(folder / name, content)
        record = check_complete(folder)
        theirs, place = FinishedRun(record, folder), store.kept(found.run)
        other = here.tables.get(canonical(comparable(record)))
        if other and (differ := other.test_subjects ^ theirs.test_subjects):
            raise NotTaken(
                f"only one of it and {other.record.run}, which is here and scored on the same data, has scores of "
                f"{' '.join(min(differ))}; ask for it anew"
            )
        if (ours := here.rows.get(row_and_seed(record))) and not agree(ours, theirs):
            raise NotTaken(
                f"{ours.record.run} is here, of the same row and seed and with other scores; to see this one, merge it into "
                f"another store (--results), or remove that one first (fedsynth prune {ours.record.run} --yes)"
            )
        if found.run in store and (place / "record.json").is_file():
            if not ours:
                raise NotTaken(f"{place} is there and damaged; to take this one, move that folder away")
            return "there already"
        if found.run in store:
            raise NotTaken(f"{place} is a run that is not finished; finish it by its command, or delete the folder")
        folder.rename(store.folder(found.run))
        flush(store.runs)
        here.add(FinishedRun(record, store.folder(found.run)))
        return "taken"


def check_complete(folder: Path) -> Record:
    """The record in a folder. Raises NotTaken for one that cannot be trusted, or of which no table can be made."""
    try:
        record = read_record(folder)
        if {*record.files, "record.json"} != {*FILES}:
            raise RecordError(f"its seal covers {', '.join(record.files) or 'no table'}, not {', '.join(FILES[:2])}")
        scores = read_scores(folder)
        record.check_scores(scores)
        check_plausible(record, scores, read_curve(folder))
        tables([FinishedRun(record, folder)])
        return record
    except RecordError as error:
        raise NotTaken(f"{str(error).replace(f'{folder}/', '').partition('; ')[0]}; ask for it anew") from error
    except Exception as error:  # as above
        raise NotTaken(f"not a record of this suite ({type(error).__name__}: {error})") from error


def _read_files(found: FoundRecord) -> dict[str, bytes]:
    """The files of a run by name. Raises NotTaken where one is missing or damaged."""
    try:
        return {name: found.read(name) for name in FILES}
    except RecordError as error:
        raise NotTaken(error) from error
    except Exception as error:  # as above
        raise NotTaken(f"not whole ({error}); ask for it anew") from error
