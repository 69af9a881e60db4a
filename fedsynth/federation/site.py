"""A site's slices, subject by subject, and the data sets that have them. Plain data, no learning.

Images lie in [-1, 1] as float16, `[slice, contrast, height, width]`; foreground masks are bool, `[slice, height, width]`.
"""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.atomic import atomic_folder, discard
from .arrays import open_arrays, save_arrays
from .names import check_names
from .task import FederationError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Subject:
    """One person at one site, with co-registered slices of every contrast of the site.

    Args:
        name: Unique at the site.
        split: "train", "val" or "test": all slices of a subject are in one split.
        slices: The rows of the site's arrays.
        drawn_as: By what random streams know the subject; empty: its name. A pseudonym must not change what is drawn.

    Example:
        >>> Subject("p07", "val", slice(40, 60)).split
        'val'
    """

    name: str
    split: str
    slices: slice
    drawn_as: str = ""


@dataclass(frozen=True, eq=False)
class Site:
    """The slices of one hospital.

    Args:
        name: What scenarios and tables call it.
        contrasts: The contrasts that every subject there has.
        images: float16 `[N, C, H, W]` in [-1, 1], the contrasts in the order of `contrasts`.
        masks: The foreground, bool `[N, H, W]`.
        subjects: Their slices are all N rows, each once; where a part of a split is taken, it is the first subjects listed.
        lesions: Masks of the lesions, bool `[N, H, W]`, or None where they are not known.
        noise_free: The images of the test slices without their noise, in the order of `rows("test")`, or None where nobody knows
            them: of simulated data they are the best that any method could make.
        seal: The SHA-256 of all that was read from files for it, arrays and subjects; empty for a site that was not.

    Raises:
        FederationError: The arrays do not fit each other, the contrasts or the subjects; or a name cannot be one (names.py).

    Example:
        >>> subjects = (Subject("a", "train", slice(0, 2)), Subject("b", "val", slice(2, 3)), Subject("c", "test", slice(3, 4)))
        >>> images = np.zeros((4, 2, 16, 16), np.float16)
        >>> site = Site("north", ("T1", "T2"), images, images[:, 0] > -1, subjects)
        >>> site.rows("train")
        array([0, 1])
    """

    name: str
    contrasts: tuple[str, ...]
    images: np.ndarray
    masks: np.ndarray
    subjects: tuple[Subject, ...]
    lesions: np.ndarray | None = None
    noise_free: np.ndarray | None = None
    seal: str = ""

    def __post_init__(self) -> None:
        check_names("site", [self.name])
        check_names(f"site {self.name}: contrast", self.contrasts)
        check_names(f"site {self.name}: subject", (subject.name for subject in self.subjects))
        n, c = self.images.shape[:2]
        if c != len(self.contrasts) or self.masks.shape != (n, *self.images.shape[2:]):
            raise FederationError(
                f"site {self.name}: images {self.images.shape} and masks {self.masks.shape} do not fit contrasts {self.contrasts}"
            )
        if self.lesions is not None and self.lesions.shape != self.masks.shape:
            raise FederationError(
                f"site {self.name}: lesions {self.lesions.shape} do not fit masks {self.masks.shape}; give a mask a slice or None"
            )
        names = [subject.name for subject in self.subjects]
        if len(set(names)) < len(names):
            raise FederationError(
                f"site {self.name}: a subject's name occurs twice, so splits could mix: {sorted(names)}"
            )
        rows = sorted(row for subject in self.subjects for row in range(subject.slices.start, subject.slices.stop))
        if rows != list(range(n)):
            raise FederationError(f"site {self.name}: the subjects' slices do not cover its {n} rows once each")
        if unknown := {subject.split for subject in self.subjects} - set(SPLITS):
            raise FederationError(f"site {self.name}: unknown split {sorted(unknown)}; a subject is in one of {SPLITS}")
        tested = (len(self.rows("test")), *self.images.shape[1:])
        if self.noise_free is not None and self.noise_free.shape != tested:
            raise FederationError(
                f"site {self.name}: noise_free {self.noise_free.shape} does not fit its test slices {tested}; give both or None"
            )

    def of(self, split: str) -> tuple[Subject, ...]:
        """The subjects of a split, in the order in which they are listed."""
        return tuple(subject for subject in self.subjects if subject.split == split)

    def rows(self, split: str) -> np.ndarray:
        """Row indices of a split's slices, int64, subject by subject."""
        return np.concatenate([np.arange(s.slices.start, s.slices.stop) for s in self.of(split)] or [np.arange(0)])

    def save(self, folder: Path) -> None:
        """Write the site to `folder`, all of it or nothing. A folder that is already complete is left alone.

        Raises:
            OSError: The folder cannot be written.
        """
        arrays = {
            "images": self.images.astype(np.float16, copy=False),
            "masks": self.masks.astype(bool, copy=False),
            "lesions": None if self.lesions is None else self.lesions.astype(bool, copy=False),
            "noise_free": None if self.noise_free is None else self.noise_free.astype(np.float16, copy=False),
        }
        try:
            with atomic_folder(folder) as scratch:
                index = {
                    "name": self.name,
                    "contrasts": self.contrasts,
                    "subjects": [[s.name, s.split, s.slices.start, s.slices.stop] for s in self.subjects],
                    "sha256": save_arrays(scratch, {name: own for name, own in arrays.items() if own is not None}),
                }
                (scratch / "index.json").write_text(json.dumps(index | {"seal": _seal(index)}, indent=1))
        except OSError:
            if not (folder / "index.json").exists():  # else another process was first, with the same arrays
                raise

    @classmethod
    def open(cls, folder: Path) -> Site:
        """The site that `save` wrote, its arrays memory-mapped. Each file is read once a process, and compared with what was
        written.

        Raises:
            FederationError: There is no site in the folder, or a file was damaged.
        """
        path = folder / "index.json"
        try:
            index = json.loads(path.read_text())
            seal = index.pop("seal")
            intact = seal == _seal(index)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FederationError(f"{path} cannot be read ({type(error).__name__}: {error})") from error
        if not intact:
            raise FederationError(f"{path} is damaged: it is not what was written")
        subjects = tuple(Subject(name, split, slice(start, stop)) for name, split, start, stop in index["subjects"])
        arrays = open_arrays(folder, index["sha256"])
        return cls(index["name"], tuple(index["contrasts"]), **arrays, subjects=subjects, seal=seal)

    @classmethod
    def cached(cls, folder: Path, make: Callable[[], Site]) -> Site:
        """The site that is kept in a folder. Where there is none, or it was damaged, it is made and kept there.

        Raises:
            OSError: The folder cannot be written.
        """
        for _ in range(2):  # another process may take away what it found damaged just when this one has replaced it
            try:
                return cls.open(folder)
            except FederationError as error:
                if folder.exists():
                    logging.getLogger(__name__).warning("%s; it is made again", error)
                    discard(folder)
                make().save(folder)
        return cls.open(folder)


def _seal(index: Mapping[str, Any]) -> str:
    """The SHA-256 of what an index says, the digests of the arrays included."""
    return sha256(json.dumps(index).encode()).hexdigest()


def redivided(site: Site, cohort: int) -> Site:
    """The site with all subjects but those of the test split divided anew into training and validation, as many of each as
    before, and listed in a new order. A subject's place in the draw follows from the number, the site and its own name."""
    free = [subject for subject in site.subjects if subject.split != "test"]
    drawn = sorted(free, key=lambda s: sha256(repr((cohort, site.name, s.drawn_as or s.name)).encode()).digest())
    trained = len(site.of("train"))
    parts = ((drawn[:trained], "train"), (drawn[trained:], "val"))
    divided = [replace(subject, split=split) for part, split in parts for subject in part]
    return replace(site, subjects=(*divided, *site.of("test")))


@dataclass
class Dataset(ABC):
    """A family of sites.

    A subclass is a dataclass in a file of its own; its fields are its options (int, float, bool, str, Enum, Optional, list).

    Example:
        >>> @dataclass
        ... class Noise(Dataset):
        ...     size: int = 16
        ...
        ...     def contrasts(self):
        ...         return {"north": ("T1", "T2")}
        ...
        ...     def fingerprint(self, site):
        ...         return f"{site} of {self.size} pixels"
        ...
        ...     def load(self, site, cache):
        ...         splits = enumerate(("train", "val", "test"))
        ...         subjects = tuple(Subject(split, split, slice(row, row + 1)) for row, split in splits)
        ...         images = np.random.default_rng(0).uniform(-1, 1, (3, 2, self.size, self.size)).astype(np.float16)
        ...         return Site(site, ("T1", "T2"), images, images[:, 0] > -1, subjects)
        >>> Noise(size=8).load("north", Path("cache")).images.shape
        (3, 2, 8, 8)
    """

    @abstractmethod
    def contrasts(self) -> Mapping[str, Sequence[str]]:
        """Site name -> the contrasts that every subject there has. It is cheap: no volume is read."""

    @abstractmethod
    def fingerprint(self, site: str) -> str:
        """A digest of everything that the site's arrays follow from; part of the identity of every run on them."""

    @abstractmethod
    def load(self, site: str, cache: Path) -> Site:
        """One site, from the folder `cache` if it was made before; else it is made and kept there."""

    def load_cohort(self, site: str, cohort: int, cache: Path) -> Site:
        """The site with other training and validation subjects, drawn by a number, and the same test subjects: here the subjects
        that are not tested divided anew. A data set that can make new subjects makes new ones."""
        return redivided(self.load(site, cache), cohort)

    def naming(self, site: str) -> str:
        """Whose names the subjects of the site have, as records say it: "given" by whoever made the data, here. "simulated"
        subjects are nobody; what `fedsynth prepare` made has pseudonyms, and says with which salt."""
        return "given"

    def test_fingerprint(self, site: str) -> str:
        """A digest of everything that the arrays of the site's test subjects follow from, here `fingerprint`. Runs whose test
        subjects differ share no table; those whose training subjects differ may, if these belong to the seed."""
        return self.fingerprint(site)
