"""The embedded federation: brain MRI of four simulated hospitals, or of up to 64, made from a seed in seconds."""

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

RENDERER = 1  # raise it whenever an image changes: caches of the same options are then made anew, and so are runs
STORED = 2  # raise it whenever something else is stored beside the images: caches are then made anew, and no run is
MOST = 64  # sites
SPREAD = 0.6  # log-sd of the number of training subjects from site to site, where there are more than four
# Axial slices lie evenly between the floor of the third ventricle and the centrum semiovale, mm.
LOWEST, HIGHEST = -2.0, 46.0


@dataclass
class Phantom(Dataset):
    """Four sites (ixi, brats, midas, oasis) whose subjects, protocols, scanners and preprocessing differ as in public data.

    With more than four `sites` they are called s00-ixi, s01-brats, s02-midas, s03-oasis, s04-ixi and so on. Each has the preset
    that it is named after, with a protocol, a field strength and ages of its own, and a log-normal number of training subjects
    whose median is `train`, at least one. All of it is drawn from (seed, "site", its number): more sites change none of them.

    Every subject has its own anatomy, drawn from (seed, site, split, number): changing how many subjects a split has changes
    none of the others. The foreground of a slice is the head, or the brain where the skull is stripped, and its lesions are
    tumours with their oedema and white-matter hyperintensities; both from the true anatomy.
    The switches take away one kind of difference between sites each; `nuisance` in [0, 1] scales what varies within a site
    without meaning: bias fields, protocol jitter, misregistration and gain.
    """

    sites: int = 4  # at most 64
    size: int = 64  # pixels, each way
    slices: int = 8  # a subject
    train: int = 12  # subjects a site
    val: int = 5
    test: int = 20
    seed: int = 0
    nuisance: float = 1.0
    same_protocol: bool = False  # sequences and field strength
    same_quality: bool = False  # noise, blur, bias fields, misregistration
    same_population: bool = False  # no pathology, one range of ages
    keep_skull: bool = False  # no skull stripping anywhere
    same_fov: bool = False  # field of view

    def __post_init__(self) -> None:
        for name, least in (("size", 16), ("slices", 1), ("train", 1), ("val", 1), ("test", 1)):
            if getattr(self, name) < least:
                raise FederationError(
                    f"dataset.{name}={getattr(self, name)} is too small; the phantom needs at least {least}"
                )
        if not len(KINDS) <= self.sites <= MOST:
            raise FederationError(
                f"dataset.sites={self.sites}: the phantom has {len(KINDS)} to {MOST}; for fewer, choose scenario.sites"
            )
        if not 0 <= self.nuisance <= 1:
            raise FederationError(f"dataset.nuisance={self.nuisance} is outside [0, 1]")

    def contrasts(self) -> Mapping[str, Sequence[str]]:
        return {site: tuple(PRESETS[kind].acquisitions) for site, kind in sorted(self._kinds().items())}

    def _kinds(self) -> dict[str, str]:
        """Site -> its preset's name; the site's number is its place."""
        if self.sites == len(KINDS):
            return {kind: kind for kind in KINDS}
        kinds = [KINDS[number % len(KINDS)] for number in range(self.sites)]
        return {f"s{number:02d}-{kind}": kind for number, kind in enumerate(kinds)}

    def _names(self, site: str) -> tuple[object, ...]:
        """Of the streams of what sets a site apart from others of its kind."""
        return self.seed, "site", list(self._kinds()).index(site)

    def load(self, site: str, cache: Path) -> Site:
        if site not in self._kinds():
            raise FederationError(f"the phantom has no site {site!r}; it has {', '.join(self.contrasts())}")
        folder = cache / f"phantom-{site}-{self.fingerprint(site)}-{STORED}"
        if not (folder / "index.json").exists():
            self.render(site).save(folder)
        return Site.open(folder)

    def fingerprint(self, site: str) -> str:
        """Of the site, all options but the number of sites, and the renderer's version."""
        options = {name: value for name, value in asdict(self).items() if name != "sites"}
        text = json.dumps({"renderer": RENDERER, "site": site, **options}, sort_keys=True)
        return blake2b(text.encode(), digest_size=6).hexdigest()

    def render(self, site: str) -> Site:
        """One site, made afresh."""
        counts = {"train": self._train(site), "val": self.val, "test": self.test}
        people = [(split, f"{split}{number:03d}") for split in SPLITS for number in range(counts[split])]
        volumes, subjects = [], []
        for row, (split, name) in enumerate(ProgressBar(people, f"phantom {site}", unit="subject")):
            volumes.append(self.subject(site, name))
            subjects.append(Subject(name, split, slice(row * self.slices, (row + 1) * self.slices)))
        images, masks, lesions = (np.concatenate(part) for part in zip(*volumes, strict=True))
        contrasts = tuple(self.contrasts()[site])
        return Site(site, contrasts, images, masks, tuple(subjects), lesions if lesions.any() else None)

    def subject(self, site: str, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images float16 `[slices, C, H, W]` in [-1, 1] of one subject, such as `train000`, and its masks of the foreground and
        of lesions, bool `[slices, H, W]`.

        Each contrast is windowed to 1.08 x the 99.5th percentile of the subject's brain, give or take its gain.
        """
        scan = Scan(self._hospital(site), (self.seed, site, name), self.size, self.nuisance)
        raw, brain, mask, lesions = (
            np.stack(part) for part in zip(*map(scan.slice, np.linspace(LOWEST, HIGHEST, self.slices)), strict=True)
        )
        bright = np.stack([np.percentile(raw[:, c][brain], 99.5) for c in range(raw.shape[1])])
        window = (1.08 * bright * scan.gains())[None, :, None, None]
        return (2 * np.clip(raw / window, 0, 1) - 1).astype(np.float16), mask, lesions

    def _train(self, site: str) -> int:
        """How many training subjects a site has."""
        if self.sites == len(KINDS):
            return self.train
        luck = stream(*self._names(site), "subjects").standard_normal()
        return max(1, round(self.train * float(np.exp(SPREAD * luck))))

    def _hospital(self, site: str) -> Hospital:
        kind = self._kinds()[site]
        return hospital(
            PRESETS[kind] if self.sites == len(KINDS) else variant(kind, self._names(site)),
            nuisance=self.nuisance,
            same_protocol=self.same_protocol,
            same_quality=self.same_quality,
            same_population=self.same_population,
            keep_skull=self.keep_skull,
            same_fov=self.same_fov,
        )
