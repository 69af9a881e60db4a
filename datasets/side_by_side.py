"""PNG folders of the released pFLSynth code: an image a slice, source on the left, target on the right."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import file_digest, sha256
from pathlib import Path

import numpy as np
from PIL import Image

from fedsynth.federation import SPLITS, Dataset, FederationError, Site, Subject
from fedsynth.runtime.progress import ProgressBar

from .volumes.mask import foreground

FIELD = 256.0  # mm across an image, which the images do not say
COLUMNS = ("site", "split", "subject", "slices")


@dataclass
class SideBySide(Dataset):
    """`root/SITE/CONTRASTS/{train,val,test}/0.png, 1.png, ...`: 8-bit colour images, twice as wide as a slice.

    CONTRASTS says what the halves show. In `T1_T2__PD` the left half has T1 in its red channel and T2 in its green one, the right
    half PD in its green one. In `T1_T2` the left half has T1 in its red channel, and the right half T2 in its green one.

    The images do not say where a subject begins, so the table `subjects` does, with the columns site, split, subject and slices
    (how many), in the order of the images' numbers. Each image was scaled to 8 bits by itself when it was made, which cannot be
    undone.
    """

    root: str = ""  # the folder of the sites
    subjects: str = "subjects.csv"  # the table of subjects, under root

    def contrasts(self) -> Mapping[str, Sequence[str]]:
        """What each site has, from the names of its folders.

        Returns:
            Site -> its contrasts, in the order of the arrays' channels.

        Raises:
            FederationError: If the folder is missing or has no such folders.
        """
        return {site: tuple(channels_of(folder)) for site, folder in self._folders().items()}

    def fingerprint(self, site: str) -> str:
        """A digest of a site's images and of the table of its subjects.

        Args:
            site: One of the names in `contrasts`.

        Returns:
            24 hexadecimal digits.

        Raises:
            FederationError: For an unknown site, a missing or wrong table, and a file whose name is not a number.
        """
        counts = {split: [count for _, count in own] for split, own in self._bounds(site).items()}
        found = sha256(repr(counts).encode())
        for split in SPLITS:
            for path in _numbered(self._folder(site) / split):
                with path.open("rb") as file:
                    found.update(file_digest(file, "sha256").digest())
        return found.hexdigest()[:24]

    def load(self, site: str, cache: Path) -> Site:
        """A site, its arrays memory-mapped. The images are read only once, then the arrays in `cache` are used.

        Args:
            site: One of the names in `contrasts`.
            cache: The folder in which the arrays are kept.

        Returns:
            The site with its images, foreground masks and subjects.

        Raises:
            FederationError: For an image that cannot be read or has another form, and if images and table do not agree.
        """
        folder = cache / f"side_by_side-{site}-{self.fingerprint(site)}"
        return Site.cached(folder, lambda: self._read(site))

    def naming(self, site: str) -> str:
        """Subjects are called by their split and their number in the table, such as train000."""
        return "numbered"

    def _read(self, site: str) -> Site:
        """The site, read from its images."""
        folder, bounds = self._folder(site), self._bounds(site)
        channels = channels_of(folder)
        images: list[np.ndarray] = []
        subjects: list[Subject] = []
        for split in SPLITS:
            paths, own = _numbered(folder / split), bounds.get(split, [])
            if (counted := sum(count for _, count in own)) != len(paths):
                raise FederationError(
                    f"site {site}: {folder / split} has {len(paths)} images, and {self._table} counts {counted} slices for"
                    " them; correct the table"
                )
            for name, count in own:
                subjects.append(Subject(name, split, slice(len(images), len(images) + count)))
                taken = paths[:count]
                del paths[:count]
                for path in ProgressBar(taken, f"reading {site} {name}", unit="slice"):
                    images.append(_halves(path, channels))
        if len(shapes := {image.shape for image in images}) > 1:
            raise FederationError(
                f"site {site}: its images have {len(shapes)} sizes, such as {sorted(shapes)[:2]}; use one"
            )
        stack = np.stack(images)
        if black := [subject.name for subject in subjects if not stack[subject.slices].any()]:
            raise FederationError(f"site {site}: the images of subject {black[0]} are black; leave the subject out")
        sources = [stack[s.slices].mean(1).transpose(1, 2, 0).astype(np.float32) for s in subjects]
        edge = FIELD / stack.shape[-1]
        masks = [foreground(source, (edge, edge, edge)) for source in sources]
        heads = np.concatenate([mask.transpose(2, 0, 1) for mask in masks])
        named = Site(site, tuple(channels), (stack / 127.5 - 1).astype(np.float16), heads, tuple(subjects))
        numbered = (replace(s, name=f"{split}{n:03d}") for split in SPLITS for n, s in enumerate(named.of(split)))
        return replace(named, subjects=tuple(numbered))  # names stay where the table is

    def _folders(self) -> dict[str, Path]:
        """Site -> its folder of contrasts."""
        root = Path(self.root).expanduser()
        if not self.root or not root.is_dir():
            raise FederationError(f"there is no folder {self.root!r}; give the folder of the sites by dataset.root")
        found: dict[str, Path] = {}
        for path in sorted(path for path in root.glob("*/*") if (path / SPLITS[0]).is_dir()):
            if path.parent.name in found:
                raise FederationError(
                    f"site {path.parent.name} has two folders of contrasts, {found[path.parent.name].name} and {path.name};"
                    " move one elsewhere"
                )
            found[path.parent.name] = path
        if not found:
            raise FederationError(
                f"{root} has no folder SITE/CONTRASTS/train, such as ixi/T1_T2__PD/train; correct dataset.root"
            )
        return found

    def _folder(self, site: str) -> Path:
        folders = self._folders()
        if site not in folders:
            raise FederationError(f"no site {site!r} under {self.root}; there are {', '.join(folders)}")
        return folders[site]

    @property
    def _table(self) -> Path:
        return Path(self.root).expanduser() / self.subjects

    def _bounds(self, site: str) -> dict[str, list[tuple[str, int]]]:
        """Split -> its subjects in order, each with the number of its slices, from the table."""
        found: dict[str, list[tuple[str, int]]] = {}
        for number, row in enumerate(subject_rows(self._table), 2):
            if row["site"] == site:
                if row["split"] not in SPLITS or not row["slices"].isdecimal() or int(row["slices"]) < 1:
                    raise FederationError(
                        f"{self._table}, line {number}: split {row['split']!r} with {row['slices']!r} slices; a split is one of"
                        f" {', '.join(SPLITS)}, and slices a number from 1"
                    )
                found.setdefault(row["split"], []).append((row["subject"], int(row["slices"])))
        return found


def subject_rows(path: Path) -> Iterator[dict[str, str]]:
    """The lines of the table of subjects."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            if missing := [column for column in COLUMNS if column not in (table.fieldnames or ())]:
                raise FederationError(f"{path} has no column {missing[0]}; it needs {', '.join(COLUMNS)}")
            yield from ({column: (row[column] or "").strip() for column in COLUMNS} for row in table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FederationError(
            f"the table of subjects {path} cannot be read ({error}); only it says where a subject begins, so write one with the"
            f" columns {', '.join(COLUMNS)}"
        ) from error


def channels_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Contrast -> its half (0 left, 1 right) and its colour channel, from the folder's name."""
    found = re.fullmatch(r"([^_]+)_([^_]+)(?:__([^_]+))?", folder.name)
    if not found or len({name for name in found.groups() if name}) < len([name for name in found.groups() if name]):
        raise FederationError(
            f"{folder}: a folder of contrasts is called FIRST_SECOND or FIRST_SECOND__THIRD, such as T1_T2__PD; rename it"
        )
    first, second, third = found.groups()
    return {first: (0, 0), second: (0, 1), third: (1, 1)} if third else {first: (0, 0), second: (1, 1)}


def _numbered(folder: Path) -> list[Path]:
    """The images of a folder in the order of their numbers: 2.png before 10.png."""
    paths = list(folder.glob("*.png"))
    if named := [path.name for path in paths if not path.stem.isdecimal()]:
        raise FederationError(
            f"{folder}: the name of {min(named)} is not a number, so its place is unknown; rename or remove it"
        )
    return sorted(paths, key=lambda path: int(path.stem))


def _halves(path: Path, channels: Mapping[str, tuple[int, int]]) -> np.ndarray:
    """The contrasts that an image shows, uint8 `[C, H, W]`."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB")) if image.mode in ("RGB", "RGBA") else None
            mode = image.mode
    except (OSError, SyntaxError, ValueError) as error:  # SyntaxError: a broken PNG
        raise FederationError(f"{path} cannot be read ({error}); restore it from its source") from error
    if pixels is None or pixels.shape[1] % 2:
        size = "" if pixels is None else f" of odd width {pixels.shape[1]}"
        raise FederationError(f"{path} is a {mode} image{size}; it must be RGB, twice as wide as a slice")
    parts = np.split(pixels, 2, axis=1)
    return np.stack([parts[half][:, :, channel] for half, channel in channels.values()])
