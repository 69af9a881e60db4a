"""`fedsynth merge`: the records of other stores, from files that `fedsynth pack` wrote or from folders, brought into this one.

Each is checked as when it is read, and its scores for being whole. What was edited, cut short or renamed is refused by name,
and so is a run that is here with other content; the others are taken. A run appears all at once, so an interrupted
merge leaves none half, and the same command goes on. Models and images are not part of a record.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError

from tqdm import tqdm

from fedsynth.runtime.atomic import flush, write_atomically

from ..records.finished import Finished
from ..records.record import RecordError, read_record, read_scores
from ..records.store import Store
from ..tables.table import tables
from .pack import FILES


class Refused(ValueError):
    """What is not taken; the message says why."""


@dataclass(frozen=True)
class Candidate:
    """A folder with a record in a file or folder."""

    run: str  # the folder's name
    origin: str  # where it was found, as it is told
    read: Callable[[str], bytes]  # the content of a file of the folder


def main(argv: list[str]) -> int:
    """Merge and say what became of each; 1 if anything was refused or nothing was found."""
    parser = argparse.ArgumentParser(prog="fedsynth merge", description=__doc__)
    parser.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="FILE.zip|FOLDER",
        help="packed records, or a folder with runs at any depth",
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the runs go (default: results)")
    arguments = parser.parse_args(argv)
    count = merge(arguments.sources, Store(arguments.results))
    total = "taken", "there already", "refused"
    print(f"{', '.join(f'{count[state]} {state}' for state in total)}: runs in {Store(arguments.results).runs}")
    return int(bool(count["refused"]) or not count)


def merge(sources: Sequence[Path], store: Store) -> Counter[str]:
    """Bring every candidate into the store. Returns how many were "taken", "there already" and "refused"; says why on standard
    error."""
    count: Counter[str] = Counter()
    store.runs.mkdir(parents=True, exist_ok=True)

    def refuse(origin: str, reason: object) -> None:
        count["refused"] += 1
        tqdm.write(f"fedsynth: refused: {origin}: {reason}", file=sys.stderr)

    for source in sources:
        try:
            for candidate in tqdm(candidates(source, refuse), str(source), unit="run", leave=False, disable=None):
                try:
                    count[take(candidate, store)] += 1
                except Refused as error:
                    refuse(candidate.origin, error)
        except (Refused, BadZipFile, OSError) as error:
            refuse(str(source), error)
    return count


def candidates(source: Path, refuse: Callable[[str, object], None]) -> Iterator[Candidate]:
    """Every folder with a `record.json`, at any depth. Raises Refused where there is none, BadZipFile, OSError."""
    found = False
    if source.is_dir():
        for folder in sorted(path.parent for path in source.resolve().rglob("record.json")):
            found = True
            yield Candidate(folder.name, str(folder), partial(read_file, folder))
    else:
        with ZipFile(source) as archive:
            for member in sorted(set(archive.namelist())):
                inside = PurePosixPath(member)
                if leaves(member):
                    found = True
                    refuse(f"{source}: {member}", "a path that leaves the folder it is unpacked in")
                elif inside.name == "record.json":
                    found = True
                    yield Candidate(
                        inside.parent.name, f"{source}: {inside.parent}", partial(read_member, archive, inside.parent)
                    )
    if not found:
        raise Refused("no record.json in it; give what `fedsynth pack` wrote, or a folder with finished runs")


def read_file(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes()


def read_member(archive: ZipFile, folder: PurePosixPath, name: str) -> bytes:
    return archive.read(str(folder / name))


def leaves(member: str) -> bool:
    """Whether a path in a zip file would lie outside of the folder it is unpacked in, on any system."""
    path = PurePosixPath(member.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1])


def take(candidate: Candidate, store: Store) -> str:
    """Bring a run into the store: "taken", or "there already". Raises Refused, OSError where the store cannot be written."""
    if not re.fullmatch(r"[\w.-]{1,200}-[0-9a-f]{12}", candidate.run):
        raise Refused(f"{candidate.run!r} is not the name of a run; a record lies in the folder of its run")
    with TemporaryDirectory(prefix=".merge-", dir=store.runs.parent) as scratch:
        folder = Path(scratch) / candidate.run
        folder.mkdir()
        for name, found in contents(candidate).items():
            write_atomically(folder / name, found)
        check(folder)
        place = store.folder(candidate.run)
        if not place.exists():
            folder.rename(place)
            flush(store.runs)
            return "taken"
        if not (place / "record.json").exists():
            raise Refused(f"{place} is a run that is not finished; finish it by its command, or delete the folder")
        if any(content(place / name) != content(folder / name) for name in FILES):
            raise Refused(f"{place} is there with other content; to take this one, move that folder away")
    return "there already"


def contents(candidate: Candidate) -> dict[str, bytes]:
    """The files of a run. Raises Refused."""
    try:
        return {name: candidate.read(name) for name in FILES}
    except (BadZipFile, ZlibError, EOFError, RuntimeError, OSError, KeyError) as error:
        raise Refused(f"not whole ({error}); ask for it anew") from error


def check(folder: Path) -> None:
    """Raises Refused for a record that cannot be trusted, or that no table can be made of."""
    try:
        record = read_record(folder)
        if {*record.files, "record.json"} != {*FILES}:
            raise RecordError(f"its seal covers {', '.join(record.files) or 'no table'}, not {', '.join(FILES[:2])}")
        record.check_scores(read_scores(folder))
        tables([Finished(record, folder)])
    except RecordError as error:
        raise Refused(f"{str(error).replace(f'{folder}/', '').partition('; ')[0]}; ask for it anew") from error
    except (ValueError, TypeError, KeyError, AttributeError, csv.Error) as error:
        raise Refused(f"not a record of this suite ({type(error).__name__}: {error})") from error


def content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
