"""Volumes become a store of slices: in parallel, resumed after a kill, never half-written."""

from __future__ import annotations

import errno
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from fedsynth.federation import FederationError, Site, Subject
from fedsynth.runtime.claim import claim, lock_fault
from fedsynth.runtime.progress import ProgressBar

from ..store.pseudonyms import Names, salt_of
from ..store.slice_store import Row, SliceStore, write_store
from ..volumes import Chain
from .checksum import Content
from .subject import FinishedSubject, finished_before, index_lines, process_subject, read_finished, registered_poorly
from .survey import CompleteSubject, LeftOut, Survey, refusal

LIBRARIES = ("fedsynth", "numpy", "scipy", "nibabel", "SimpleITK", "ancpbids")


@dataclass(frozen=True)
class Preparation:
    """What is to be prepared, and what is known of it before a volume is opened."""

    label: str
    root: Path  # the folder of the volumes
    place: Path  # the folder of the store
    chain: Chain
    volume: int | None  # index of the volume to use from 4-D files
    found: Survey
    contents: Mapping[Path, Content]  # of every volume and mask of the complete subjects
    keys: Mapping[tuple[str, str], str]  # (site, subject) -> a digest of all that the subject's arrays follow from
    fingerprints: Mapping[str, str]  # by site
    recipe: Mapping[str, Any]  # the options that decide how a subject is processed and split
    split: Callable[[str, Sequence[str]], dict[str, str]]  # site and subjects -> the split of each subject
    given_splits: Mapping[str, Mapping[str, str]]  # the table that replaces the draw, or nothing
    accept: Sequence[str]  # subjects to use although their registration is called poor
    skips: bool  # whether subjects that cannot be used are left out; otherwise they stop the preparation
    documented: str  # what the data set's makers say that it holds


def prepare_store(asked: Preparation, jobs: int = 1) -> SliceStore:
    """The store, made or brought up to date first if need be. `jobs` processes share the subjects.

    Raises FederationError for a subject that cannot be used, unless such subjects are skipped; for a store in `asked.place` that
    was made with other options or whose splits were edited; and for a full disk.
    """
    place = asked.place
    scratch = place.with_name(f".{place.name}.partial")
    with _locked(place):
        before = SliceStore.open(place) if (place / "dataset.json").exists() else None
        if before and _unedited(before).info["asked"] == asked.fingerprints:
            shutil.rmtree(scratch, ignore_errors=True)  # of a command that was stopped after its last step
            return before
        if before and not before.names.salt:
            raise FederationError(
                f"{place} lacks names.json, without which its subjects would get other pseudonyms; ask for the file, or choose"
                " another dataset.out"
            )
        if before and (differ := _changed_options(*_options_then_and_now(before, asked))):
            raise FederationError(
                f"{place} was prepared with other options: {'; '.join(differ)}; choose another dataset.out, or delete it"
            )
        try:
            store = _make(asked, before, scratch, jobs)
        except OSError as error:
            reason = error.strerror or f"{error}: the disk is full"  # numpy gives a count of bytes and no reason
            full = error.errno in (None, errno.ENOSPC, errno.EDQUOT)
            remedy = "make room" if full else f"give another folder by dataset.out, or mend {error.filename or place}"
            raise FederationError(
                f"{place} cannot be written ({reason}); the subjects that are finished are kept in {scratch}:"
                f" {remedy} and run the same command again"
            ) from error
        except BrokenProcessPool as error:
            raise FederationError(
                f"a process was killed ({error}), perhaps because memory ran out; the subjects that are finished are kept in"
                f" {scratch}: run the same command again, with fewer --jobs"
            ) from error
        shutil.rmtree(scratch, ignore_errors=True)
        return store


class _Unusable:
    """The subjects that cannot be used. Adding one raises FederationError unless such subjects are skipped."""

    def __init__(self, asked: Preparation) -> None:
        self.left_out: list[LeftOut] = []
        self._skips = asked.skips
        self.add(*asked.found.left_out)

    def add(self, *subjects: LeftOut) -> None:
        self.left_out += subjects
        if self.left_out and not self._skips:
            raise FederationError(refusal(self.left_out))


def _make(asked: Preparation, before: SliceStore | None, scratch: Path, jobs: int) -> SliceStore:
    """Process the subjects that are not finished yet, and write the store."""
    unusable = _Unusable(asked)
    scratch.mkdir(parents=True, exist_ok=True)
    gone = {(one.site, one.subject) for one in unusable.left_out}
    there = {site: [who for who in own if (site, who) not in gone] for site, own in asked.found.complete.items()}
    # Before hours of registration; a table need not have who cannot be used.
    possible = there if asked.given_splits else _splits(asked, there, unusable)
    finished = _finished(asked, before, scratch, jobs, unusable)
    splits = _splits(asked, {site: [who.subject for who in finished.get(site, {})] for site in possible}, unusable)
    index: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="arrays.", dir=scratch) as arrays:

        def add_lines(who: CompleteSubject, one: FinishedSubject, first: int) -> None:
            index.extend(index_lines(who, one, first, asked.root, asked.contents))

        def ordered(site: str) -> dict[CompleteSubject, FinishedSubject]:
            by_content = sorted(finished[site].items(), key=lambda entry: asked.keys[site, entry[0].subject])
            return dict(by_content)  # the order of their names would tell something about them

        sites = (
            _assembled(site, asked.found.contrasts[site], ordered(site), own, Path(arrays, site), add_lines)
            for site, own in splits.items()
        )
        info = _info(asked, splits, unusable.left_out)
        names = Names(
            salt=salt_of(asked.place),
            root=str(asked.root.absolute()),
            left_out=[one._asdict() for one in sorted(unusable.left_out)],
            accepted=sorted(asked.accept),
            splits={site: dict(own) for site, own in asked.given_splits.items()},
        )
        return write_store(asked.place, sites, index, asked.fingerprints, info, names)


def _splits(asked: Preparation, sites: Mapping[str, Sequence[str]], unusable: _Unusable) -> dict[str, dict[str, str]]:
    """Site -> subject -> split, for the sites whose subjects can be divided; the others are added to `unusable`."""
    splits = {}
    for site, names in sorted(sites.items()):
        try:
            splits[site] = asked.split(site, names)
        except FederationError as error:
            unusable.add(LeftOut(site, "*", str(error), "all: too few"))
    if not splits:
        raise FederationError("\n  ".join(["no site can be prepared", *map(str, unusable.left_out[:5])]))
    return splits


def _finished(
    asked: Preparation, before: SliceStore | None, scratch: Path, jobs: int, unusable: _Unusable
) -> dict[str, dict[CompleteSubject, FinishedSubject]]:
    """Site -> its subjects, each from the store that was there before, from `scratch`, or processed now."""
    gone = {(one.site, one.subject) for one in unusable.left_out}
    hopeless = {site for site, name in gone if name == "*"}
    everyone = [who for site, own in asked.found.complete.items() if site not in hopeless for who in own.values()]
    keys = {who: asked.keys[who.site, who.subject] for who in everyone if (who.site, who.subject) not in gone}
    earlier = finished_before(before) if before else {}
    there = {who: one for who, key in keys.items() if (one := earlier.get(key) or read_finished(scratch / key))}
    todo = {
        who: partial(process_subject, who, asked.chain, asked.volume, scratch / key)
        for who, key in keys.items()
        if who not in there
    }
    failed = _carry_out(todo, jobs, f"preparing {asked.label}", unusable)
    finished: dict[str, dict[CompleteSubject, FinishedSubject]] = {}
    # Beside the store, which is not there if the preparation stops.
    pictures = asked.place.with_name(f"{asked.place.name}-refused")
    for who, key in keys.items():
        if who not in failed:
            one = there.get(who) or read_finished(scratch / key)
            if one is None:
                raise FederationError(f"{scratch / key} was damaged since it was written; run the same command again")
            reference = asked.chain.reference or next(iter(who.volumes))
            if who.subject not in asked.accept and (poor := registered_poorly(who, one, reference, pictures)):
                unusable.add(LeftOut(who.site, who.subject, poor, "poorly registered"))
            else:
                finished.setdefault(who.site, {})[who] = one
    twins = _twins(finished)
    unusable.add(*twins)
    gone = {(one.site, one.subject) for one in twins}
    return {
        site: {who: one for who, one in own.items() if (site, who.subject) not in gone}
        for site, own in finished.items()
    }


def _info(asked: Preparation, splits: Mapping[str, Mapping[str, str]], left_out: list[LeftOut]) -> dict[str, Any]:
    """The content of dataset.json, but for what the store itself adds."""
    return {
        "label": asked.label,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "options": asked.recipe,
        "documented": asked.documented,
        "versions": _library_versions(),
        "asked": dict(asked.fingerprints),
        "keys": {site: {name: asked.keys[site, name] for name in sorted(own)} for site, own in splits.items()},
        "left_out": _counted(asked.found.excluded, left_out),
    }


def _counted(excluded: Mapping[str, int], left_out: Sequence[LeftOut]) -> dict[str, dict[str, int]]:
    """Site -> why subjects were left out -> how many."""
    found = {site: Counter({"excluded by name": count}) for site, count in excluded.items()}
    for one in left_out:
        found.setdefault(one.site, Counter())[one.kind] += 1
    return {site: dict(sorted(own.items())) for site, own in sorted(found.items())}


def _options_then_and_now(before: SliceStore, asked: Preparation) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options that a store was made with, and those that are asked for."""
    given = {site: dict(own) for site, own in asked.given_splits.items()}
    return {**before.info["options"], "splits": before.names.splits}, {**asked.recipe, "splits": given}


def _twins(finished: Mapping[str, Mapping[CompleteSubject, FinishedSubject]]) -> list[LeftOut]:
    """Subjects with a volume that another subject has too, or with one for two contrasts; the files may differ.

    One person under two names could be trained and tested on.
    """
    owners: dict[str, tuple[str, str]] = {}
    left_out = []
    for site, own in sorted(finished.items()):
        for who, one in sorted(own.items(), key=lambda entry: entry[0].subject):
            paths = {row["content"]: who.volumes[contrast] for contrast, row in one.processing.items()}
            if shared := [content for content in paths if content in owners]:
                other = " ".join(owners[shared[0]])
                reason = f"its {paths[shared[0]]} is the same image as one of subject {other}; leave one out"
            elif len(paths) < len(one.processing):
                files = " and ".join(map(str, who.volumes.values()))
                reason = f"two of {files} are the same image; restore them from their source"
            else:
                owners |= dict.fromkeys(paths, (site, who.subject))
                continue
            left_out.append(LeftOut(site, who.subject, reason, "there twice"))
    return left_out


def _carry_out(
    todo: Mapping[CompleteSubject, Callable[[], str]], jobs: int, title: str, unusable: _Unusable
) -> set[CompleteSubject]:
    """Process the subjects, and show progress. Returns those that cannot be used, which are added to `unusable`."""
    failed = set()
    with ProgressBar(total=len(todo), desc=title, unit="subject") as bar, closing(_reasons(todo, jobs)) as ended:
        for who, reason in ended:
            bar.update()
            if reason:
                failed.add(who)
                unusable.add(LeftOut(who.site, who.subject, reason, "not readable"))
    return failed


def _reasons(
    todo: Mapping[CompleteSubject, Callable[[], str]], jobs: int
) -> Generator[tuple[CompleteSubject, str], None, None]:
    """Each subject as it ends, with the reason if it cannot be used, else ""."""
    if jobs == 1 or len(todo) < 2:
        yield from ((who, job()) for who, job in todo.items())
        return
    with ProcessPoolExecutor(min(jobs, len(todo)), get_context("spawn")) as pool:
        try:
            with uninterrupted():
                futures = {pool.submit(job): who for who, job in todo.items()}
            yield from ((futures[future], future.result()) for future in as_completed(futures))
        except BaseException:  # GeneratorExit too, if a subject stops the preparation
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of the block and never reaches the processes started in it: the main process alone answers it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _assembled(
    name: str,
    contrasts: tuple[str, ...],
    finished: Mapping[CompleteSubject, FinishedSubject],
    splits: Mapping[str, str],
    arrays: Path,
    note: Callable[[CompleteSubject, FinishedSubject, int], None],
) -> Site:
    """The site, with one subject at a time in memory. `note` is told each subject and the row at which its slices begin."""
    subjects, rows, shape = [], 0, next(iter(finished.values())).images.shape[1:]
    arrays.mkdir()
    with (arrays / "images").open("wb") as images, (arrays / "masks").open("wb") as masks:
        for who, one in finished.items():
            images.write(np.ascontiguousarray(one.images, np.float16).data)
            masks.write(np.ascontiguousarray(one.masks, bool).data)
            note(who, one, rows)
            subjects.append(Subject(who.subject, splits[who.subject], slice(rows, rows + len(one.images))))
            rows += len(one.images)
    return Site(
        name,
        contrasts,
        np.memmap(arrays / "images", np.float16, "r", shape=(rows, *shape)),
        np.memmap(arrays / "masks", bool, "r", shape=(rows, *shape[1:])),
        tuple(subjects),
    )


def _unedited(store: SliceStore) -> SliceStore:
    """The store. Raises FederationError if its splits were edited since it was made."""
    for site in store.contrasts:
        if store.fingerprint(site) != store.info["sites"][site]["fingerprint"]:
            raise FederationError(
                f"{store.folder / 'splits.csv'} was edited, so site {site} no longer follows from the options; use it as it is by"
                f" dataset=prepared 'dataset.folders=[{store.folder}]', or delete {store.folder}"
            )
    return store


def _changed_options(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "dataset") -> list[str]:
    """The options that have changed, with both values."""
    found = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _changed_options(old, new, f"{prefix}.{key}")
        elif old != new:
            found.append(f"{prefix}.{key} {old}, now {new}")
    return found


def _library_versions() -> dict[str, str]:
    """Library -> version, of those that the arrays follow from and that are installed."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Within the block no other process prepares this store. One that comes later waits, and finds the store finished."""
    lock, said = place.with_name(f".{place.name}.lock"), False
    while True:
        with claim(lock, place, bool(lock_fault(place))) as mine:
            if mine:
                yield
                return
        if not said:
            print(f"another process prepares {place}; waiting for it to end", file=sys.stderr)
        said = True
        time.sleep(1.0)
