"""Simulated brain MRI of 4 to 64 hospitals, made from a seed in seconds; nothing is downloaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from fedsynth.federation import SPLITS, Dataset, FederationError, Site, Subject
from fedsynth.runtime.progress import ProgressBar

from .scanner import Scan
from .sites import KINDS, PRESETS, Hospital, hospital, variant
from .streams import stream

RENDERER = 1  # raise it whenever an image changes: caches are then made anew, and so are runs
STORED = 4  # raise it whenever something else is stored beside the images: caches are then made anew, but no runs
LATER = {"same_kind": False, "bias": 1.0}  # options that came later, and what was before
MOST = 64  # sites
SPREAD = 0.6  # log-sd of the number of training subjects from site to site, if there are more than four sites
# Axial slices lie evenly between the floor of the third ventricle and the centrum semiovale, mm.
LOWEST, HIGHEST = -2.0, 46.0


@dataclass
class Phantom(Dataset):
    """Four sites (ixi, brats, midas, oasis), whose subjects, protocols, scanners and preprocessing differ as in public data.

    With more than four `sites` they are called s00-ixi, s01-brats, s02-midas, s03-oasis, s04-ixi and so on. Each is like the
    preset that it is named after, but has a protocol, a field strength and ages of its own, and a log-normal number of training
    subjects with the median `train`, at least one. These are drawn from (seed, "site", the site's number), so that they stay the
    same if there are more sites.

    Each subject has its own anatomy, drawn from (seed, site, split, number), so that it stays the same if a split has more
    subjects. The foreground of a slice is the head, or the brain where the skull is stripped. Lesions are tumours with their
    oedema, and white-matter hyperintensities. Both follow from the true anatomy.

    The training and validation subjects of a cohort (`load_cohort`) have names of their own, such as c3-train000, and so they are
    other people. Sites, scanners and test subjects are those of every cohort.

    Each switch removes one kind of difference between sites. `same_kind` needs more than four sites to change anything.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> phantom = Phantom(size=32, slices=2, train=1, val=1, test=1)
        >>> phantom.contrasts()["brats"]
        ('T1', 'T2', 'FLAIR')
        >>> site = phantom.load("brats", Path(mkdtemp()))
        >>> site.images.shape, float(site.images.min())
        ((6, 3, 32, 32), -1.0)
        >>> [(subject.name, subject.split, subject.slices) for subject in site.subjects][:2]
        [('train000', 'train', slice(0, 2, None)), ('val000', 'val', slice(2, 4, None))]

    Raises:
        FederationError: For a value out of range.
    """

    sites: int = 4  # 4 to 64
    size: int = 64  # height and width of a slice, pixels
    slices: int = 8  # of a subject
    train: int = 12  # training subjects of a site
    val: int = 5  # validation subjects of a site
    test: int = 20  # test subjects of a site
    seed: int = 0  # of everything that is drawn
    nuisance: float = 1.0  # factor in [0, 1] of bias fields, protocol jitter, misregistration and gain within a site
    same_protocol: bool = False  # the same sequences and field strength at every site
    same_quality: bool = False  # the same noise, blur, bias fields and misregistration at every site
    same_population: bool = False  # no lesions, and the same range of ages at every site
    keep_skull: bool = False  # no skull stripping at any site
    same_fov: bool = False  # the same field of view at every site
    same_kind: bool = False  # the same sequences and field strength at every site of a preset
    bias: float = 1.0  # factor in [0, 6] of the amplitude of the receive fields

    def __post_init__(self) -> None:
        for name, least in (("size", 16), ("slices", 1), ("train", 1), ("val", 1), ("test", 1)):
            if getattr(self, name) < least:
                raise FederationError(
                    f"dataset.{name}={getattr(self, name)} is too small; the phantom needs at least {least}"
                )
        if not len(KINDS) <= self.sites <= MOST:
            raise FederationError(
                f"dataset.sites={self.sites}: the phantom has {len(KINDS)} to {MOST} sites; choose fewer by scenario.sites"
            )
        if not 0 <= self.nuisance <= 1:
            raise FederationError(f"dataset.nuisance={self.nuisance} is outside [0, 1]")
        if not 0 <= self.bias <= 6:
            raise FederationError(f"dataset.bias={self.bias} is outside [0, 6]")

    def contrasts(self) -> Mapping[str, Sequence[str]]:
        """What each site has.

        Returns:
            Site -> its contrasts, in the order of the arrays' channels.
        """
        return {site: tuple(PRESETS[kind].acquisitions) for site, kind in sorted(self._kinds().items())}

    def _kinds(self) -> dict[str, str]:
        """Site -> the name of its preset. A site's number is its place here."""
        if self.sites == len(KINDS):
            return {kind: kind for kind in KINDS}
        kinds = [KINDS[number % len(KINDS)] for number in range(self.sites)]
        return {f"s{number:02d}-{kind}": kind for number, kind in enumerate(kinds)}

    def _names(self, site: str) -> tuple[object, ...]:
        """The names of the random streams of what distinguishes a site from others with its preset."""
        return self.seed, "site", list(self._kinds()).index(site)

    def load(self, site: str, cache: Path) -> Site:
        """A site, its arrays memory-mapped. It is rendered only once, then the arrays in `cache` are used.

        Args:
            site: One of the names in `contrasts`.
            cache: The folder in which the arrays are kept.

        Returns:
            The site with its images, foreground masks, subjects and, if it has any, lesions.

        Raises:
            FederationError: For an unknown site.
        """
        return self._load(site, cache, None)

    def load_cohort(self, site: str, cohort: int, cache: Path) -> Site:
        """A site with the training and validation subjects of a cohort. See `load`."""
        return self._load(site, cache, cohort)

    def _load(self, site: str, cache: Path, cohort: int | None) -> Site:
        if site not in self._kinds():
            raise FederationError(f"the phantom has no site {site!r}; it has {', '.join(self.contrasts())}")
        drawn = "" if cohort is None else f"-c{cohort}"
        folder = cache / f"phantom-{site}-{self.fingerprint(site)}{drawn}-{STORED}"
        return Site.cached(folder, lambda: self.render(site, cohort))

    def naming(self, site: str) -> str:
        return "simulated"

    def fingerprint(self, site: str) -> str:
        """A digest of the site's name, all options but the number of sites, and the renderer's version.

        Returns:
            12 hexadecimal digits.
        """
        return self._digest(site, "sites")

    def test_fingerprint(self, site: str) -> str:
        """The fingerprint without the numbers of training and validation subjects, which change no test subject."""
        return self._digest(site, "sites", "train", "val")

    def _digest(self, site: str, *without: str) -> str:
        options = {name: value for name, value in asdict(self).items() if name not in without}
        for name, before in LATER.items():  # what is rendered without them has kept its name
            if options.get(name) == before:
                del options[name]
        text = json.dumps({"renderer": RENDERER, "site": site, **options}, sort_keys=True)
        return blake2b(text.encode(), digest_size=6).hexdigest()

    def render(self, site: str, cohort: int | None = None) -> Site:
        """One site, rendered anew. See `load` for the arguments and what is returned."""
        counts = {"train": self.training_subjects(site), "val": self.val, "test": self.test}
        drawn = dict.fromkeys(("train", "val"), "" if cohort is None else f"c{cohort}-") | {"test": ""}
        people = [(split, f"{drawn[split]}{split}{number:03d}") for split in SPLITS for number in range(counts[split])]
        volumes, subjects = [], []
        for row, (split, name) in enumerate(ProgressBar(people, f"phantom {site}", unit="subject")):
            volumes.append(self.subject(site, name))
            subjects.append(Subject(name, split, slice(row * self.slices, (row + 1) * self.slices)))
        images, masks, lesions, noise_free = (np.concatenate(part) for part in zip(*volumes, strict=True))
        contrasts, tested = tuple(self.contrasts()[site]), noise_free[-counts["test"] * self.slices :]
        return Site(site, contrasts, images, masks, tuple(subjects), lesions if lesions.any() else None, tested)

    def subject(self, site: str, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One subject, rendered anew.

        White is 1.08 times the 99.5th percentile of the subject's brain, contrast by contrast, times a gain near 1.

        Args:
            site: One of the names in `contrasts`.
            name: The subject's name, its split and number, such as `train000`, or `c3-train000` of cohort 3.

        Returns:
            Images float16 `[slices, C, H, W]` in [-1, 1]; masks of the foreground and of lesions, bool `[slices, H, W]`; and the
            images without their noise, in the same window.
        """
        scan = Scan(self.hospital(site), (self.seed, site, name), self.size, self.nuisance)
        raw, brain, mask, lesions, noise_free = (
            np.stack(part) for part in zip(*map(scan.slice, np.linspace(LOWEST, HIGHEST, self.slices)), strict=True)
        )
        bright = np.stack([np.percentile(raw[:, c][brain], 99.5) for c in range(raw.shape[1])])
        window = (1.08 * bright * scan.gains())[None, :, None, None]
        images, clean = ((2 * np.clip(part / window, 0, 1) - 1).astype(np.float16) for part in (raw, noise_free))
        return images, mask, lesions, clean

    def training_subjects(self, site: str) -> int:
        """The number of a site's training subjects."""
        if self.sites == len(KINDS):
            return self.train
        luck = stream(*self._names(site), "subjects").standard_normal()
        return max(1, round(self.train * float(np.exp(SPREAD * luck))))

    def hospital(self, site: str) -> Hospital:
        kind = self._kinds()[site]
        return hospital(
            PRESETS[kind] if self.sites == len(KINDS) else variant(kind, self._names(site), self.same_kind),
            nuisance=self.nuisance,
            bias=self.bias,
            same_protocol=self.same_protocol,
            same_quality=self.same_quality,
            same_population=self.same_population,
            keep_skull=self.keep_skull,
            same_fov=self.same_fov,
        )
