"""Folders that `fedsynth prepare` wrote, any number of them in one federation."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fedsynth.federation import Dataset, FederationError, Site

from .layout import Layout
from .store.pseudonyms import Names, salt_of
from .store.slice_store import SIMULATED, Row, SliceStore, numbers, write_store
from .volumes import export_volume


@dataclass
class Prepared(Dataset):
    """The sites of all `folders`.

    If two folders have a site of the same name, write one as `PREFIX:FOLDER`: its sites are then called `PREFIX-SITE`. A volume
    that lies in two folders is refused, because its subject could be trained on at one site and tested on at another.
    """

    folders: list[str] = field(default_factory=list)  # that `fedsynth prepare` wrote

    def contrasts(self) -> Mapping[str, Sequence[str]]:
        """What each site has.

        Returns:
            Site -> its contrasts, in the order of the arrays' channels.

        Raises:
            FederationError: For a folder that holds no prepared data, for two sites of the same name, and for a volume that
                lies in two folders.
        """
        places = self._places()
        self._check_content([store for store, _ in places.values()])
        return {name: store.contrasts[own] for name, (store, own) in places.items()}

    def fingerprint(self, site: str) -> str:
        """A digest of all that a site's arrays follow from, and of its splits if they were edited.

        Args:
            site: One of the names in `contrasts`.

        Returns:
            The fingerprint that the site had when it was prepared, unless its splits were edited.

        Raises:
            FederationError: For an unknown site, and if `contrasts` does.
        """
        store, own = self._place(site)
        return store.fingerprint(own)

    def test_fingerprint(self, site: str) -> str:
        """The fingerprint that the site had when it was prepared, and which of its subjects are tested now."""
        store, own = self._place(site)
        return store.test_fingerprint(own)

    def load(self, site: str, cache: Path) -> Site:
        """A site, its arrays memory-mapped.

        Args:
            site: One of the names in `contrasts`.
            cache: Not used; the arrays stay where they are.

        Returns:
            The site with its images, foreground masks and subjects, split as the folder's splits.csv says.

        Raises:
            FederationError: For an unknown site, and for files that are damaged.
        """
        store, own = self._place(site)
        found = store.site(own)
        return replace(found, name=site, lesions=None)

    def volumes(self, site: str) -> list[Row]:
        """The lines about a site in its folder's index, one a volume; `file` is the path that it had when it was prepared, `name`
        who the subject is, where the folder has its names.json."""
        store, own = self._place(site)
        return store.volumes(own)

    def left_out(self, site: str) -> dict[str, int]:
        """Why subjects of the site were left out when it was prepared -> how many."""
        store, own = self._place(site)
        return store.left_out(own)

    def naming(self, site: str) -> str:
        """With which salt the subjects of the site have pseudonyms, or "simulated"."""
        return self._place(site)[0].naming

    @staticmethod
    def keep(dataset: Dataset, out: Path, jobs: int = 1) -> SliceStore:
        """Keep any data set as a store: a layout in its own folder, a copy of any other data set's sites in `out`.

        Args:
            dataset: Any data set but `Prepared`.
            out: The folder of the store, which is only used for what is not a layout.
            jobs: How many processes share the subjects of a layout.

        Returns:
            The store, an existing one if nothing has changed since it was made.

        Raises:
            FederationError: If the data set cannot be prepared.
        """
        if isinstance(dataset, Layout):
            return dataset.prepare(jobs)
        if isinstance(dataset, Prepared):
            raise FederationError("the folders of dataset=prepared are prepared already; use them as they are")
        fingerprints = {name: dataset.fingerprint(name) for name in dataset.contrasts()}
        if (out / "dataset.json").exists() and (before := SliceStore.open(out)).info["asked"] == fingerprints:
            return before
        index: list[Row] = []
        info = {
            "label": type(dataset).__name__.lower(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "asked": fingerprints,
        }
        simulated = {dataset.naming(site) for site in fingerprints} == {SIMULATED}
        info |= {"options": asdict(dataset)} if simulated else {}  # those of other data are paths
        names = Names(salt="" if simulated else salt_of(out))
        with tempfile.TemporaryDirectory() as cache:
            return write_store(out, _copied(dataset, Path(cache), index), index, fingerprints, info, names)

    @staticmethod
    def export(stack: np.ndarray, source: Row, white: float, like: Path, out: Path) -> None:
        """Write slices of a subject as a NIfTI volume that lies on one of the subject's own volumes.

        Args:
            stack: Slices float32 `[N, H, W]` in [-1, 1], as many as the subject has.
            source: The line about that volume in the index.
            white: The intensity that 1 stands for.
            like: That volume, whose grid is used.
            out: The file to write, `.nii` or `.nii.gz`.

        Raises:
            FederationError: If the slices do not fit, or `like` cannot be read.
        """
        affine = np.reshape(numbers(source["affine"]), (4, 4))
        export_volume(stack, [int(row) for row in source["slices"].split()], affine, like, out, white)

    def _place(self, site: str) -> tuple[SliceStore, str]:
        places = self._places()
        if site not in places:
            raise FederationError(f"no site {site!r} in dataset.folders; there are {', '.join(sorted(places))}")
        return places[site]

    def _places(self) -> dict[str, tuple[SliceStore, str]]:
        """Site -> its store, and its name in that store."""
        if not self.folders:
            raise FederationError(
                "dataset.folders is empty; give prepared folders, as in 'dataset.folders=[prepared/ixi]'"
            )
        places: dict[str, tuple[SliceStore, str]] = {}
        for prefix, folder in map(self._parse, self.folders):
            store = SliceStore.open(folder)
            for own in store.contrasts:
                name = f"{prefix}-{own}" if prefix else own
                if name in places:
                    raise FederationError(
                        f"site {name} is in {places[name][0].folder} and in {folder}; give those of one folder a prefix, as in"
                        f" 'dataset.folders=[{places[name][0].folder},second:{folder}]'"
                    )
                places[name] = (store, own)
        return places

    @staticmethod
    def _parse(text: str) -> tuple[str, Path]:
        """Prefix and folder of an entry."""
        prefix, colon, folder = text.partition(":")
        if colon and re.fullmatch(r"\w[\w-]*", prefix) and not Path(text).exists():
            return prefix, Path(folder).expanduser()
        return "", Path(text).expanduser()

    @staticmethod
    def _check_content(stores: Sequence[SliceStore]) -> None:
        """Raises FederationError for a volume that lies in two stores."""
        owners: dict[str, tuple[Path, str]] = {}
        for store in {store.folder: store for store in stores}.values():
            for volume in store.volumes():
                before = owners.setdefault(volume["content"] or volume["sha256"], (store.folder, volume["name"]))
                if before[0] != store.folder:
                    raise FederationError(
                        f"subject {volume['name']} of {store.folder} is subject {before[1]} of {before[0]}: their"
                        f" {volume['contrast']} is the same image; prepare one folder without that subject (dataset.exclude)"
                    )


def _copied(dataset: Dataset, cache: Path, index: list[Row]) -> Iterator[Site]:
    """The data set's sites, one after another; the lines of their subjects are added to the index."""
    for name in dataset.contrasts():
        site = dataset.load(name, cache)
        for subject in site.subjects:
            slices = range(subject.slices.stop - subject.slices.start)
            index += [
                {
                    "site": name,
                    "subject": subject.name,
                    "contrast": c,
                    "first": subject.slices.start,
                    "slices": list(slices),
                }
                for c in site.contrasts
            ]
        yield site
