"""Sites made of folders of NIfTI volumes, as a hospital or a public data set has them."""

from __future__ import annotations

import glob
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import file_digest, sha256
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fedsynth.federation import CONTRASTS, SPLITS, Dataset, FederationError, Site, Subject

from . import volume

Listing = Mapping[str, Mapping[str, Path]]  # subject, by name -> contrast, in the order of CONTRASTS -> its volume


@dataclass
class Nifti(Dataset):
    """NIfTI volumes of co-registered contrasts, one a subject and contrast, cut into axial slices.

    Volumes are turned to right-anterior-superior axes, and those of a subject must share one grid. Each is divided by 1.08 times
    the 99.5th percentile of its own foreground, clipped to [0, 1] and shown as [-1, 1]. An axial slice is brought to square
    pixels of `spacing` mm whatever the shape of its voxels (finer ones averaged, coarser ones interpolated) and then cropped or
    padded about its middle to `size`: proportions never change. Rows run from front to back, columns from the person's left to
    the right. One foreground serves all contrasts of a subject, that of their mean (`volume.foreground`).

    A subject's split follows from seed, site and its own name, so that it stays when others are added. Only where chance leaves a
    split empty, at a site with few subjects, is it given the subject that came nearest.
    """

    sites: dict[str, str] = field(default_factory=dict)  # site -> its folder, or folder and pattern in one
    pattern: str = "{subject}/{contrast}.nii.gz"  # of the paths in a site's folder; * is any text without /
    contrast_names: dict[str, str] = field(default_factory=lambda: {c: c for c in CONTRASTS})  # in a path -> contrast
    size: int = 256  # pixels, height and width of a slice
    spacing: float = 1.0  # mm, edge of a pixel
    foreground: float = 0.3  # slices with less foreground than this share of the subject's fullest one are left out
    slices: int = 0  # a subject, at most, evenly spaced among those; 0: all
    val: float = 0.1  # share of a site's subjects
    test: float = 0.2  # share of a site's subjects
    seed: int = 0  # of the split

    def __post_init__(self) -> None:
        if self.size < 1 or self.spacing <= 0 or self.slices < 0 or not 0 < self.foreground <= 1:
            raise FederationError(
                f"dataset: size {self.size} and spacing {self.spacing} must be positive, slices {self.slices} not negative and"
                f" foreground {self.foreground} in (0, 1]"
            )
        if min(self.val, self.test) <= 0 or self.val + self.test >= 1:
            raise FederationError(
                f"dataset: val {self.val} and test {self.test} must be positive and leave a share to train"
            )

    def contrasts(self) -> Mapping[str, Sequence[str]]:
        if not self.sites:
            raise FederationError(
                "dataset.sites names no site; give each a folder, as in +dataset.sites.north=data/north"
            )
        return {site: tuple(next(iter(self._list(site).values()))) for site in self.sites}

    def load(self, site: str, cache: Path) -> Site:
        listing = self._list(site)
        folder = cache / f"nifti-{site}-{self._fingerprint(site, listing)[:16]}"
        if not (folder / "index.json").exists():
            self._prepare(site, listing, folder)
        return Site.open(folder)

    def fingerprint(self, site: str) -> str:
        """Of all that the site's arrays follow from: options, this code, and each volume's subject, contrast and content."""
        return self._fingerprint(site, self._list(site))

    def _list(self, site: str) -> Listing:
        """The site's volumes, every subject with every contrast. Paths are listed, no file is opened."""
        found: dict[str, dict[str, Path]] = {}
        for subject, contrast, path in self._match(site):
            first = found.setdefault(subject, {}).setdefault(contrast, path)
            if first != path:
                raise FederationError(
                    f"site {site}: subject {subject} has two volumes of {contrast}, {first} and {path}; narrow the pattern or"
                    " dataset.contrast_names"
                )
        owned = {contrast for volumes in found.values() for contrast in volumes}
        order = [c for c in CONTRASTS if c in owned] + sorted(owned - set(CONTRASTS))
        for subject, volumes in sorted(found.items()):
            if missing := [contrast for contrast in order if contrast not in volumes]:
                raise FederationError(
                    f"site {site}: subject {subject} has {next(iter(volumes.values()))} but no volume of"
                    f" {', '.join(missing)}, which others there have; add it, move the subject out,"
                    " or take the contrast out of dataset.contrast_names"
                )
        return {subject: {contrast: found[subject][contrast] for contrast in order} for subject in sorted(found)}

    def _match(self, site: str) -> Iterator[tuple[str, str, Path]]:
        """Subject, contrast and path of every file that the site's pattern describes."""
        if site not in self.sites:
            raise FederationError(f"no site {site!r}; dataset.sites names {', '.join(sorted(self.sites)) or 'none'}")
        if not re.fullmatch(r"\w[\w-]*", site):
            raise FederationError(f"site {site!r}: a site's name consists of letters, digits, _ and -")
        place = self.sites[site]
        pattern = (Path(place) if "{" in place else Path(place, self.pattern)).expanduser().as_posix()
        pieces = re.split(r"(\{.*?\}|\*+)", pattern)  # literal text, special, literal text, special, ..., literal text
        if set(pieces[1::2]) - {"*"} != {"{subject}", "{contrast}"}:
            raise FederationError(
                f"site {site}: the pattern {pattern} must hold {{subject}} and {{contrast}}, no other braces and no **"
            )
        folder = Path(pieces[0] + "_").parent
        if not folder.is_dir():
            raise FederationError(f"site {site}: there is no folder {folder}; correct dataset.sites.{site}")
        names = sorted(self.contrast_names, key=len, reverse=True)  # so that T1ce is not taken for T1
        forms = {
            "{subject}": "(?P<subject>[^/]+)",
            "{contrast}": f"(?P<contrast>{'|'.join(map(re.escape, names))})",
            "*": "[^/]*",
        }
        expression = ""
        for literal, special in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
            expression += re.escape(literal) + forms.get(special, "")
            if special.startswith("{"):
                forms[special] = f"(?P={special[1:-1]})"  # where it stands again, it is the same text again
        wildcards = "".join("*" if i % 2 else glob.escape(piece) for i, piece in enumerate(pieces))
        paths = [Path(path).as_posix() for path in sorted(glob.glob(wildcards))]
        matches = [match for path in paths if (match := re.fullmatch(expression, path)) and match["contrast"]]
        if not matches:
            raise FederationError(
                f"site {site}: no file matches {pattern} with a contrast among {', '.join(names) or 'none'}; found"
                f" {', '.join(paths[:3]) or 'nothing'}; correct the pattern or dataset.contrast_names"
            )
        for match in matches:
            yield match["subject"], self.contrast_names[match["contrast"]], Path(match[0])

    def _splits(self, site: str, subjects: Iterable[str]) -> dict[str, str]:
        """Subject -> split, by a number in [0, 1) drawn from its name: below `test`, below `test + val`, or above."""
        draws = {
            name: int(sha256(repr((self.seed, site, name)).encode()).hexdigest()[:13], 16) / 16**13 for name in subjects
        }
        if len(draws) < len(SPLITS):
            raise FederationError(
                f"site {site} has {len(draws)} subjects ({', '.join(draws)}) and needs one in each of {', '.join(SPLITS)}"
            )
        tested = sum(draw < self.test for draw in draws.values())
        validated = sum(draw < self.test + self.val for draw in draws.values()) - tested
        val = min(max(1, validated), len(draws) - 2)
        test = min(max(1, tested), len(draws) - 1 - val)
        order = sorted(draws, key=lambda name: draws[name])
        return {name: "test" if i < test else "val" if i < test + val else "train" for i, name in enumerate(order)}

    def _fingerprint(self, site: str, listing: Listing) -> str:
        options = (self.size, self.spacing, self.foreground, self.slices, self.val, self.test, self.seed)
        code = [_checksum(Path(source)) for source in (__file__, volume.__file__)]
        volumes = [
            (subject, contrast, [_checksum(file) for file in _files(path)])
            for subject, paths in listing.items()
            for contrast, path in paths.items()
        ]
        return sha256(repr((site, options, code, volumes)).encode()).hexdigest()

    def _prepare(self, site: str, listing: Listing, folder: Path) -> None:
        """Write the site's arrays to `folder`, holding one subject at a time in memory."""
        splits = self._splits(site, listing)
        contrasts = tuple(next(iter(listing.values())))
        subjects: list[Subject] = []
        rows = 0
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=folder.name + ".", dir=folder.parent) as scratch:
            images, masks = Path(scratch, "images"), Path(scratch, "masks")
            with images.open("wb") as image_file, masks.open("wb") as mask_file:
                for subject, paths in tqdm(
                    listing.items(), f"reading {site}", unit="subject", leave=False, disable=None
                ):
                    image, mask = self._slices(site, subject, list(paths.values()))
                    image_file.write(image.astype(np.float16).tobytes())
                    mask_file.write(mask.tobytes())
                    subjects.append(Subject(subject, splits[subject], slice(rows, rows + len(image))))
                    rows += len(image)
            Site(
                site,
                contrasts,
                np.memmap(images, np.float16, "r", shape=(rows, len(contrasts), self.size, self.size)),
                np.memmap(masks, bool, "r", shape=(rows, self.size, self.size)),
                tuple(subjects),
            ).save(folder)

    def _slices(self, site: str, subject: str, paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
        """A subject's axial slices from below up: images float32 `[N, C, H, W]` in [-1, 1], foreground bool `[N, H, W]`."""
        volumes = [volume.read(path) for path in paths]
        first = volumes[0]
        for path, other in zip(paths, volumes, strict=True):
            if not first.same_grid(other):
                raise FederationError(
                    f"site {site}, subject {subject}: {paths[0]} ({first.grid}) and {path} ({other.grid}) lie on different grids;"
                    " register and resample one onto the other"
                )
        total = np.zeros_like(first.voxels)
        for each in volumes:
            each.voxels[...] /= each.white  # in place: a subject's volumes are the memory that preparing takes
            total += each.voxels
        head = volume.foreground(total)
        area = head.sum(axis=(0, 1))
        if not area.any():
            raise FederationError(f"site {site}, subject {subject}: no foreground in {paths[0]}; leave the subject out")
        chosen = np.flatnonzero(area >= self.foreground * area.max())
        if 0 < self.slices < len(chosen):
            chosen = chosen[((np.arange(self.slices) + 0.5) * len(chosen) / self.slices).astype(int)]
        # `[X, Y, Z]` running right, front, up -> `[N, H, W]` with rows running back and columns right
        stack = np.stack([each.voxels[:, ::-1, chosen].T for each in volumes], axis=1)
        mask = head[:, ::-1, chosen].T
        columns, rows = (volume.resampling(head.shape[i], first.spacing[i], self.size, self.spacing) for i in (0, 1))
        lost = 1 - mask[:, rows.any(axis=0)][:, :, columns.any(axis=0)].sum() / mask.sum()
        if lost > 0.05:
            _, y, x = np.nonzero(mask)
            reach = max(np.ptp(x) * first.spacing[0], np.ptp(y) * first.spacing[1])
            raise FederationError(
                f"site {site}, subject {subject}: {lost:.0%} of the foreground of {paths[0]}, {reach:.0f} mm across, lies outside"
                f" {self.size} pixels of {self.spacing} mm; raise dataset.size or dataset.spacing"
            )
        return 2 * (rows @ stack @ columns.T).clip(0, 1) - 1, rows @ mask.astype(np.float32) @ columns.T >= 0.5


def _files(path: Path) -> list[Path]:
    """The files that a volume consists of: one, or the two halves of a pair."""
    other = re.sub(r"\.(img|hdr)(?=(\.gz)?$)", lambda half: ".hdr" if half[1] == "img" else ".img", path.name)
    return [path] if other == path.name else [path, path.with_name(other)]


def _checksum(path: Path) -> str:
    try:
        stat = path.stat()
        return _content(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise FederationError(f"{path} cannot be read ({error.strerror}); restore it or its permissions") from error


@cache
def _content(path: Path, size: int, modified: int) -> str:
    """Read once a process, unless the file changes: every run of a sweep asks for it."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
