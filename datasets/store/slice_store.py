"""Prepared sites on the disk: memory-mapped arrays, and tables that say where they come from.

    dataset.json           options, versions, sites with their fingerprints and splits, and how many subjects were left out
    splits.csv             site, subject, split; may be edited, and then counts
    index.csv              a line for each volume: its slices, the affine from (row, column, slice) to mm in the world of its
                           file, the file's own affine and SHA-256, the intensity shown as 1, its registration, how well
                           it lies on the first contrast
    names.json             for its owner alone: who is who, and which files the volumes were (pseudonyms.py); in all other files
                           subjects have pseudonyms, unless they are simulated
    sites/NAME/            images.npy and masks.npy, read as they are needed (`Site.open`), and index.json with their SHA-256

A store appears, and is replaced, all at once.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from fedsynth.federation import FederationError, Site
from fedsynth.runtime.atomic import atomic_folder

from .pseudonyms import FILE, Names, pseudonyms, salt_mark
from .splits import given_splits, read_splits, write_splits

SCHEMA = 3
INDEX = (
    *("site", "subject", "contrast", "first", "slices", "affine", "voxel_mm", "source_affine", "white", "dark"),
    *("content", "sha256", "mi_before", "mi_after", "gain", "mirror_gain", "motion", "poor", "fault"),
)
WHO = ("site", "subject", "contrast")  # of a volume
PRIVATE = ("session", "file", "bytes", "modified")  # of a volume, only in names.json: it may tell who it is
SIMULATED = "simulated"  # who the subjects are, where nobody has to be protected

Row = dict[str, Any]


@dataclass(frozen=True)
class SliceStore:
    """A folder of prepared sites."""

    folder: Path
    info: Mapping[str, Any]  # the content of dataset.json

    @classmethod
    def open(cls, folder: Path) -> SliceStore:
        """The store in a folder. Raises FederationError if there is none, or one of another version."""
        if not folder.exists() and _aside(folder).exists():  # a preparation was killed between its last two steps
            _aside(folder).rename(folder)
        try:
            info = json.loads((folder / "dataset.json").read_bytes())
            schema = info["schema"]
            for site in info["sites"].values() if schema == SCHEMA else ():
                _ = site["contrasts"], site["fingerprint"], dict(site["splits"]), site["slices"], info["naming"]
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise FederationError(
                f"{folder} holds no prepared data set ({type(error).__name__}: {error}); fedsynth prepare writes one"
            ) from error
        if schema != SCHEMA:
            raise FederationError(
                f"{folder} is a store of version {schema}, and this version reads {SCHEMA}; delete it and prepare it again: the"
                " same options put its subjects into the same splits"
            )
        return cls(folder, info)

    @property
    def contrasts(self) -> dict[str, tuple[str, ...]]:
        """Site -> its contrasts, in the order of the arrays' channels."""
        return {name: tuple(site["contrasts"]) for name, site in self.info["sites"].items()}

    @property
    def naming(self) -> str:
        """Whose names the subjects have: with which salt their pseudonyms are made, or that they are simulated."""
        return str(self.info["naming"])

    @cached_property
    def splits(self) -> dict[str, dict[str, str]]:
        """Site -> subject -> split, from splits.csv."""
        return read_splits(self.folder / "splits.csv")

    @cached_property
    def names(self) -> Names:
        """Who the subjects are; nothing where names.json was not handed over."""
        return Names.read(self.folder)

    def fingerprint(self, name: str) -> str:
        """A digest of all that a site's arrays follow from, and of its splits if they were edited. Neither names nor pseudonyms
        are part of it: it is the same whatever the salt, and tells nobody who is in it."""
        site = self.info["sites"][name]
        own = self._ordered_splits(name)
        return str(
            site["fingerprint"] if own == [*site["splits"].values()] else json_digest((site["fingerprint"], own))
        )

    def test_fingerprint(self, name: str) -> str:
        """A digest of all that a site's arrays follow from, and of who is tested: how the others are divided does not matter.

        Where the store was made of a layout it is the layout's own, so that runs on either share tables.
        """
        if keys := self.info.get("keys", {}).get(name):
            own = self.splits.get(name, {})
            return json_digest((name, sorted(key for subject, key in keys.items() if own.get(subject) == "test")))
        tested = [place for place, split in enumerate(self._ordered_splits(name)) if split == "test"]
        return json_digest((self.info["sites"][name]["fingerprint"], tested))

    def _ordered_splits(self, name: str) -> list[str]:
        """The splits of a site's subjects, in the order of the arrays."""
        own = self.splits.get(name, {})
        return [own.get(subject, "") for subject in self.info["sites"][name]["splits"]]

    def site(self, name: str) -> Site:
        """A site, its arrays memory-mapped, its subjects split as splits.csv says. Raises FederationError for damaged files."""
        path = self.folder / "sites" / name
        try:
            found = Site.open(path)
        except FederationError as error:
            raise FederationError(f"{error}; restore {path}, or delete {self.folder} and prepare it") from error
        if len(found.images) != self.info["sites"][name]["slices"]:
            raise FederationError(
                f"{path} and dataset.json differ in the number of slices; delete {self.folder} and prepare it"
            )
        names = [subject.name for subject in found.subjects]
        own = given_splits(self.splits, self.folder / "splits.csv", name, names)
        if unknown := sorted(set(self.splits[name]) - set(names)):
            raise FederationError(
                f"{self.folder / 'splits.csv'}: site {name} has no subject {unknown[0]}; delete its line"
            )
        drawn_as = [s.name if self.naming == SIMULATED else str(place) for place, s in enumerate(found.subjects)]
        subjects = [replace(s, split=own[s.name], drawn_as=d) for s, d in zip(found.subjects, drawn_as, strict=True)]
        return replace(found, subjects=tuple(subjects))

    def left_out(self, name: str) -> dict[str, int]:
        """Why subjects of a site were left out -> how many."""
        return dict(self.info.get("left_out", {}).get(name, {}))

    def index(self) -> list[Row]:
        """The lines of index.csv as text; `numbers` reads cells that are lists."""
        path = self.folder / "index.csv"
        try:
            with path.open(newline="", encoding="utf-8") as file:
                return list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise FederationError(f"{path} cannot be read ({error}); delete {self.folder} and prepare it") from error

    def volumes(self, name: str | None = None) -> list[Row]:
        """The lines of a site, or of all, that have a volume. As `name` they have who the subject is, as `file` the path that the
        volume had when the store was made; without names.json that is the pseudonym, and nothing."""
        files = {tuple(row[part] for part in WHO): row for row in self.names.files}
        found = []
        for row in (row for row in self.index() if row["sha256"] and name in (None, row["site"])):
            own = files.get(tuple(row[part] for part in WHO), dict.fromkeys(PRIVATE, ""))
            path = str(Path(self.names.root, own["file"])) if own["file"] else ""
            found.append({**row, **own, "file": path, "name": self.names.name(row["site"], row["subject"])})
        return found


def write_store(
    folder: Path,
    sites: Iterable[Site],
    index: Iterable[Row],
    fingerprints: Mapping[str, str],
    info: Mapping[str, Any],
    names: Names,
) -> SliceStore:
    """Write the sites to `folder` as a store, which replaces an older store there.

    Subjects come under their names, in the sites, in the index and in `keys` of `info`; with a salt in `names`, they have their
    pseudonyms in the store, and `names.json` says who is who. Without, they are simulated and keep their names.

    Raises FederationError if something else lies there, and OSError for example for a full disk; both leave `folder` untouched.
    """
    with _replacing(folder) as new:
        entries, splits, called = {}, {}, {}
        for site in sites:
            own = called[site.name] = pseudonyms(names.salt, site.name, [subject.name for subject in site.subjects])
            subjects = tuple(replace(subject, name=own[subject.name]) for subject in site.subjects)
            kept = replace(site, subjects=subjects, noise_free=None)  # splits.csv may name other test subjects
            kept.save(new / "sites" / site.name)
            splits[site.name] = {subject.name: subject.split for subject in subjects}
            entries[site.name] = {
                "contrasts": list(site.contrasts),
                "subjects": len(site.subjects),
                "slices": len(site.images),
                "size": list(site.images.shape[2:]),
                "fingerprint": fingerprints[site.name],
                "splits": splits[site.name],
            }
        write_splits(new / "splits.csv", splits)
        rows = [{**row, "subject": called[row["site"]][row["subject"]]} for row in index]
        with (new / "index.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, INDEX, restval="", lineterminator="\n")
            table.writeheader()
            table.writerows({key: cell_text(row[key]) for key in INDEX if key in row} for row in rows)
        facts = {
            "schema": SCHEMA,
            "naming": salt_mark(names.salt) if names.salt else SIMULATED,
            **info,
            "sites": entries,
        }
        if "keys" in info:
            facts["keys"] = {
                site: {called[site][who]: key for who, key in own.items()} for site, own in info["keys"].items()
            }
        (new / "dataset.json").write_text(json.dumps(facts, indent=1, allow_nan=False), "utf-8")
        if names.salt:
            files = [{part: row[part] for part in (*WHO, *PRIVATE)} for row in rows if "file" in row]
            people = {site: {alias: name for name, alias in sorted(own.items())} for site, own in called.items()}
            replace(names, subjects=people, files=files).write(new)
    return SliceStore.open(folder)


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which replaces the store in `folder` if the block ends well and is deleted if it does not."""
    # The file of names alone was put there for its salt.
    if folder.is_dir() and {path.name for path in folder.iterdir()} - {FILE}:
        SliceStore.open(folder)  # raises for a folder of anything else
    elif folder.exists() and not folder.is_dir():
        raise FederationError(f"{folder} is a file; choose another folder by dataset.out")
    with atomic_folder(folder) as new:
        yield new
        shutil.rmtree(_aside(folder), ignore_errors=True)
        if folder.exists():
            os.rename(folder, _aside(folder))
    shutil.rmtree(_aside(folder), ignore_errors=True)


def _aside(folder: Path) -> Path:
    """Where the old store is while it is replaced."""
    return folder.with_name(f".{folder.name}.old")


def json_digest(value: object) -> str:
    """24 hexadecimal digits of the SHA-256 of a value as JSON, in which the order of keys does not matter."""
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def cell_text(value: Any) -> str:
    """A value as a cell of index.csv: a list or a matrix as its numbers, row by row, separated by blanks."""
    if hasattr(value, "ravel"):
        value = value.ravel().tolist()
    return " ".join(map(repr, value)) if isinstance(value, list | tuple) else str(value)


def numbers(cell: str) -> list[float]:
    """The numbers of a cell of index.csv that is a list or a matrix, row by row."""
    return [float(number) for number in cell.split()]
