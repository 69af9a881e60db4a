"""The embedded federation: brain MRI of four simulated hospitals, made from a seed in seconds."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fedsynth.federation import SPLITS, Dataset, FederationError, Site, Subject

from .scanner import Scan
from .sites import PRESETS, Hospital, hospital

RENDERER = 1  # raise it whenever an image changes: caches of the same options are then made anew
# Axial slices lie evenly between the floor of the third ventricle and the centrum semiovale, mm.
LOWEST, HIGHEST = -2.0, 46.0


@dataclass
class Phantom(Dataset):
    """Four sites (ixi, brats, midas, oasis) whose subjects, protocols, scanners and preprocessing differ as in public data.

    Every subject has its own anatomy, drawn from (seed, site, split, number): changing how many subjects a split has changes
    none of the others. The foreground of a slice is the head, or the brain where the skull is stripped, from the true anatomy.
    The switches take away one kind of difference between sites each; `nuisance` in [0, 1] scales what varies within a site
    without meaning: bias fields, protocol jitter, misregistration and gain.
    """

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
        if not 0 <= self.nuisance <= 1:
            raise FederationError(f"dataset.nuisance={self.nuisance} is outside [0, 1]")

    def contrasts(self) -> Mapping[str, Sequence[str]]:
        return {site: tuple(preset.acquisitions) for site, preset in sorted(PRESETS.items())}

    def load(self, site: str, cache: Path) -> Site:
        if site not in PRESETS:
            raise FederationError(f"the phantom has no site {site!r}; it has {', '.join(sorted(PRESETS))}")
        folder = cache / f"phantom-{site}-{self.fingerprint(site)}"
        if not (folder / "index.json").exists():
            self.render(site).save(folder)
        return Site.open(folder)

    def fingerprint(self, site: str) -> str:
        """Of the site, all options and the renderer's version."""
        text = json.dumps({"renderer": RENDERER, "site": site, **asdict(self)}, sort_keys=True)
        return blake2b(text.encode(), digest_size=6).hexdigest()

    def render(self, site: str) -> Site:
        """One site, made afresh. Shows its progress on a terminal."""
        people = [(split, f"{split}{number:03d}") for split in SPLITS for number in range(getattr(self, split))]
        images, masks, subjects = [], [], []
        for row, (split, name) in enumerate(
            tqdm(people, f"phantom {site}", file=sys.stderr, disable=None, leave=False, unit="subject")
        ):
            volume, mask = self.subject(site, name)
            images.append(volume)
            masks.append(mask)
            subjects.append(Subject(name, split, slice(row * self.slices, (row + 1) * self.slices)))
        return Site(site, tuple(self.contrasts()[site]), np.concatenate(images), np.concatenate(masks), tuple(subjects))

    def subject(self, site: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Images float16 `[slices, C, H, W]` in [-1, 1] and masks bool `[slices, H, W]` of one subject, such as `train000`.

        Each contrast is windowed to 1.08 x the 99.5th percentile of the subject's brain, give or take its gain.
        """
        scan = Scan(self._hospital(site), (self.seed, site, name), self.size, self.nuisance)
        raw, brain, mask = (
            np.stack(part) for part in zip(*map(scan.slice, np.linspace(LOWEST, HIGHEST, self.slices)), strict=True)
        )
        bright = np.stack([np.percentile(raw[:, c][brain], 99.5) for c in range(raw.shape[1])])
        window = (1.08 * bright * scan.gains())[None, :, None, None]
        return (2 * np.clip(raw / window, 0, 1) - 1).astype(np.float16), mask

    def _hospital(self, site: str) -> Hospital:
        return hospital(
            site,
            nuisance=self.nuisance,
            same_protocol=self.same_protocol,
            same_quality=self.same_quality,
            same_population=self.same_population,
            keep_skull=self.keep_skull,
            same_fov=self.same_fov,
        )
