"""A folder of volumes: a pattern says which files they are, of which site, subject and contrast.

The files of conf/dataset/ are layouts of known data sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from fedsynth.federation import CONTRASTS, Dataset, FederationError, Site
from fedsynth.runtime.progress import ProgressBar

from ..store.pseudonyms import Names, real_names
from ..store.slice_store import Row, SliceStore, json_digest
from ..store.splits import draw_order, draw_splits, given_splits, read_splits
from ..volumes import Chain
from .bids import data_set_name, match_bids
from .checksum import Content, content_of
from .pattern import Match, check_pattern, match_pattern
from .prepare import Preparation, prepare_store
from .survey import CompleteSubject, Rules, Survey, refusal, survey, table_columns
from .verify import Report, verify_volumes

PREPARATION = 3  # raise it when the same options and volumes give other arrays than before


class Kind(Enum):
    """How a volume is stored, and how it is found."""

    nifti = "nifti"  # a file that the pattern describes
    dicom = "dicom"  # a folder that the pattern describes, with one DICOM series
    bids = "bids"  # a NIfTI file of a BIDS data set, found by its suffix; the pattern is not used


class OnError(Enum):
    """What happens if a subject cannot be used."""

    stop = "stop"  # nothing is prepared, and the message lists such subjects
    skip = "skip"  # the others are prepared, and such subjects are listed


@dataclass
class Layout(Dataset):
    """Volumes under one folder. Those of a subject are brought to one grid and cut into axial slices, which are kept in `out`.

    The contrasts of a site are those that at least half of its subjects have. A subject cannot be used if it lacks one of them,
    if a volume cannot be read, or if its registration is poor. Of several sessions of a subject, the first with every contrast
    is used.

    Raises:
        FederationError: For options that exclude each other, and for an invalid pattern.
    """

    label: str = "folder"  # the data set's name in messages and folders
    root: str = ""  # the folder of the volumes
    kind: Kind = Kind.nifti  # how a volume is stored: nifti, dicom or bids
    pattern: str = "{site}/{subject}/{contrast}.nii.gz"  # of paths under root; also {session}, and * for any text
    contrast_names: dict[str, str] = field(default_factory=dict)  # text in a path -> contrast; empty: T1, T2, PD, FLAIR
    site: str = ""  # the only site, if neither the pattern nor a table names sites; empty, of BIDS: the data set's name
    table: str = ""  # a .tsv or .csv file under root that names each subject's site; of BIDS, participants.tsv if empty
    table_subject: str = "participant_id"  # the table's column of subjects, with or without sub-
    table_site: str = "site"  # the table's column of sites
    site_names: dict[str, str] = field(default_factory=dict)  # text in a path or in the table -> site
    exclude: list[str] = field(default_factory=list)  # subjects to leave out, as SUBJECT or SITE/SUBJECT; * is any text
    first: bool = False  # if a contrast has several volumes: use the first by name instead of leaving the subject out
    accept: list[str] = field(default_factory=list)  # subjects to use although their registration is called poor
    volume: int | None = None  # index of the volume to use from 4-D files
    chain: Chain = field(default_factory=Chain)  # how volumes become slices
    val: float = 0.1  # share of each site's subjects to validate on
    test: float = 0.2  # share of each site's subjects to test on
    seed: int = 0  # of the split into training, validation and test subjects
    splits: str = ""  # a table with the columns site, subject and split, which replaces val, test and seed
    on_error: OnError = OnError.stop  # what happens if a subject cannot be used: stop or skip
    documented: str = ""  # what the data set's makers say it holds; --verify shows it
    out: str = ""  # the folder of the prepared slices; empty: prepared/LABEL-HASH, where the hash is of these options

    def __post_init__(self) -> None:
        if min(self.val, self.test) <= 0 or self.val + self.test >= 1:
            raise FederationError(
                f"dataset: val {self.val} and test {self.test} must be positive with a sum below 1, so that some subjects train"
            )
        if self.kind is not Kind.bids:
            check_pattern(self.pattern)
            if not ("{site}" in self.pattern or self.site or self.table):
                raise FederationError(
                    f"the pattern {self.pattern} has no {{site}}; name the only site by dataset.site, or give a table of sites by"
                    " dataset.table"
                )

    # --- as a data set --------------------------------------------------------------------------------------------------

    def contrasts(self) -> Mapping[str, Sequence[str]]:
        """What each site has. No volume is opened.

        Returns:
            Site -> its contrasts, in the order of the arrays' channels.

        Raises:
            FederationError: If `survey` does.
        """
        return self.survey().contrasts

    def fingerprint(self, site: str) -> str:
        """A digest of all that a site's arrays and splits follow from: options, each volume's contrast and content, and what
        its subject's name decides. The names themselves are not part of it: whoever guesses them could try them on it.

        Volumes are read for it, unless they were read before and their files have the same size and time.

        Args:
            site: One of the names in `contrasts`.

        Returns:
            24 hexadecimal digits.

        Raises:
            FederationError: For an unknown site, and for a volume that cannot be read while `on_error` is `stop`.
        """
        found = self.survey()
        if site not in found.complete:
            raise FederationError(
                f"no site {site!r} under {self.folder}; there are {', '.join(sorted(found.complete))}"
            )
        return self._fingerprints(found, self._keys(found, self._contents(found)))[site]

    def test_fingerprint(self, site: str) -> str:
        """A digest of all that the arrays of a site's test subjects follow from. See `fingerprint`."""
        found = self.survey()
        keys, split = self._keys(found, self._contents(found)), self._split(site, list(found.complete[site]))
        return json_digest((site, sorted(keys[site, name] for name in split if split[name] == "test")))

    def naming(self, site: str) -> str:
        """With which salt the subjects of the prepared store have pseudonyms.

        Raises:
            FederationError: If nothing was prepared in `out`.
        """
        return SliceStore.open(self.place).naming

    def load(self, site: str, cache: Path) -> Site:
        """A site, its arrays memory-mapped. It is prepared now by one process, unless `fedsynth prepare` did it before.

        Args:
            site: One of the names in `contrasts`.
            cache: Not used; the slices are kept in `out`.

        Returns:
            The site with its images, foreground masks and subjects.

        Raises:
            FederationError: If the data set cannot be prepared; see `prepare`.
        """
        return self.prepare().site(site)

    def prepare(self, jobs: int = 1) -> SliceStore:
        """The store of all sites in `out`, made or brought up to date first if need be.

        Args:
            jobs: How many processes share the subjects.

        Returns:
            The store, an existing one if nothing has changed since it was made.

        Raises:
            FederationError: For a subject that cannot be used while `on_error` is `stop`, if no site can be prepared, if `out`
                was prepared with other options, and for a full disk. What was finished before is kept and used the next time.
        """
        found = self.survey()
        contents = self._contents(found)
        keys = self._keys(found, contents)
        asked = Preparation(
            label=self.label,
            root=self.folder,
            place=self.place,
            chain=self.chain,
            volume=self.volume,
            found=found,
            contents=contents,
            keys=keys,
            fingerprints=self._fingerprints(found, keys),
            recipe=self._recipe(),
            split=self._split,
            given_splits=self._given_splits(),
            accept=self.accept,
            skips=self._skips,
            documented=self.documented,
        )
        return prepare_store(asked, jobs)

    def left_out(self, site: str) -> dict[str, int]:
        """Why subjects of a prepared site were left out -> how many.

        Raises:
            FederationError: If nothing was prepared in `out`.
        """
        return SliceStore.open(self.place).left_out(site)

    def verify(self) -> Report:
        """What lies in the folder: who is complete, what is missing, and whether headers are right. Nothing is prepared.

        Returns:
            A report, whose text is what `fedsynth prepare --verify` prints.

        Raises:
            FederationError: If the folder is missing, or no file in it matches.
        """
        return verify_volumes(self.label, self.folder, self._sorted(self.matches()), self.volume, self.documented)

    def volumes(self, site: str) -> list[Row]:
        """The lines about a prepared site in the store's index, one a volume; `file` is the volume's path, `name` the subject's.

        Raises:
            FederationError: If nothing was prepared in `out`.
        """
        return SliceStore.open(self.place).volumes(site)

    # --- what the folder holds -----------------------------------------------------------------------------------------------

    def survey(self) -> Survey:
        """Which subjects under `root` can be used, by their paths alone: no volume is opened.

        Raises:
            FederationError: If no file matches, if no subject can be used, and, while `on_error` is `stop`, if one cannot.
        """
        found = self._sorted(self.matches())
        if found.left_out and not self._skips:
            raise FederationError(refusal(found.left_out))
        if not any(found.complete.values()):
            reason = f" ({found.left_out[0]})" if found.left_out else ""
            raise FederationError(
                f"no subject under {self.folder} can be used{reason}; fedsynth prepare --verify says more"
            )
        return found

    def matches(self) -> list[Match]:
        """The volumes that the layout describes.

        Raises:
            FederationError: If there is none, or no such folder.
        """
        if not self.root:
            raise FederationError(
                f"dataset.root is empty; give the folder of {self.label}, as in dataset.root=data/{self.label}"
            )
        if not self.folder.is_dir():
            what = f"{self.folder} is a file" if self.folder.exists() else f"there is no folder {self.folder}"
            kept = (
                f". What was prepared from it can be used without it: dataset=prepared 'dataset.folders=[{self.place}]'"
                if (self.place / "dataset.json").exists()
                else ""
            )
            raise FederationError(f"{what}; give the folder of {self.label} by dataset.root{kept}")
        if self.kind is Kind.bids:
            found = list(match_bids(self.folder, self._names))
        else:
            found = list(match_pattern(self.folder, self.pattern, self._names, self.kind is Kind.dicom))
        if not found:
            names = ", ".join(self._names)
            what = (
                f"the suffix {names}"
                if self.kind is Kind.bids
                else f"the form {self.pattern} and a contrast among {names}"
            )
            there = ", ".join(sorted(path.name for path in self.folder.iterdir())[:3]) or "nothing"
            raise FederationError(
                f"no file under {self.folder} has {what}; found {there}; correct dataset.pattern or dataset.contrast_names"
            )
        return found

    def _sorted(self, matches: Iterable[Match]) -> Survey:
        """Who is complete according to the matches, and who is not."""
        rules = Rules(
            contrast_names=self._names,
            site=self.site or (data_set_name(self.folder) if self.kind is Kind.bids else self.label),
            table=self._table_of_sites(),
            table_subject=self.table_subject,
            table_site=self.table_site,
            site_names=self.site_names,
            exclude=self.exclude,
            first=self.first,
            mask=self.chain.mask if "{" in self.chain.mask else "",
        )
        return survey(self.folder, matches, rules)

    def _table_of_sites(self) -> Path | None:
        """The table that names each subject's site. In a BIDS data set for which no site and no table is given, it is
        participants.tsv if that has the column of sites; only if `table_site` was set, it must have it."""
        if self.table:
            return self.folder / self.table
        participants = self.folder / "participants.tsv"
        if self.kind is not Kind.bids or self.site or not participants.exists():
            return None
        asked = self.table_site != Layout.table_site
        return participants if asked or self.table_site in table_columns(participants) else None

    @property
    def _names(self) -> Mapping[str, str]:
        """Text in a path -> contrast."""
        return self.contrast_names or {contrast: contrast for contrast in CONTRASTS}

    @property
    def _skips(self) -> bool:
        return self.on_error is OnError.skip

    @property
    def folder(self) -> Path:
        """The folder of the volumes."""
        return Path(self.root).expanduser()

    # --- what the arrays follow from ------------------------------------------------------------------------------------------

    @property
    def place(self) -> Path:
        """The folder of the prepared slices."""
        options = {**self._recipe(), "splits": self._given_splits(), "root": str(self.folder.absolute())}
        return Path(self.out or f"prepared/{self.label}-{json_digest(options)[:8]}").expanduser()

    def _recipe(self) -> dict[str, Any]:
        """The options that decide how a subject is processed and split; not those that choose the subjects, and no path."""
        apart = ("label", "root", "out", "documented", "splits", "exclude", "accept", "on_error")
        options = {key: value for key, value in asdict(self).items() if key not in apart}
        options["chain"] |= {"template": Path(self.chain.template).name}
        return _json_ready(options) | {"preparation": PREPARATION}

    def _given_splits(self) -> Mapping[str, Mapping[str, str]]:
        """The given table of splits; empty if none is given. That of a prepared folder has pseudonyms, which the file of names
        beside it explains."""
        table = Path(self.splits).expanduser()
        return real_names(read_splits(table), Names.read(table.parent)) if self.splits else {}

    def _known(self) -> dict[Path, Content]:
        """Volume -> its content, as the store in `place` has it from an earlier preparation."""
        if not (self.place / "dataset.json").exists():
            return {}
        store = SliceStore.open(self.place)
        return {
            self.folder / Path(row["file"]).relative_to(store.names.root): Content(
                int(row["bytes"]), int(row["modified"]), row["sha256"]
            )
            for row in store.volumes()
            if row["file"]
        }

    def _contents(self, found: Survey) -> dict[Path, Content]:
        """Volume or mask of a complete subject -> its content.

        A file that cannot be read raises FederationError, or, if its subject may be left out, gets an empty SHA-256.
        """
        known, contents = self._known(), dict[Path, Content]()
        for path in ProgressBar(found.files(), f"checking {self.label}", unit="file"):
            try:
                contents[path] = content_of(path, known)
            except FederationError:
                if not self._skips:
                    raise
                contents[path] = Content(0, 0, "")
        return contents

    def _keys(self, found: Survey, contents: Mapping[Path, Content]) -> dict[tuple[str, str], str]:
        """(site, subject) -> a digest of all that the subject's arrays follow from."""
        chain = _json_ready(asdict(self.chain))
        template = content_of(Path(self.chain.template).expanduser(), {}).sha256 if self.chain.template else ""

        def key(who: CompleteSubject) -> str:
            volumes = [(contrast, contents[path].sha256) for contrast, path in who.volumes.items()]
            mask = contents[who.mask].sha256 if who.mask else ""
            return json_digest((PREPARATION, chain, template, self.volume, volumes, mask))

        return {(site, name): key(who) for site, own in found.complete.items() for name, who in own.items()}

    def _fingerprints(self, found: Survey, keys: Mapping[tuple[str, str], str]) -> dict[str, str]:
        """Site -> its fingerprint. Subjects are known by the digests of their volumes, in the order of the arrays."""
        recipe = self._recipe()
        digests = {}
        for site, own in found.complete.items():
            placed = self._placed(site, list(own))
            people = sorted((keys[site, name], placed[name], name in self.accept) for name in own)
            digests[site] = json_digest((site, recipe, people))
        return digests

    def _placed(self, site: str, subjects: Sequence[str]) -> dict[str, int | str]:
        """Subject -> its place in the draw of splits, or its given split: all that its name decides."""
        if self.splits:
            own = self._given_splits().get(site, {})
            return {name: own.get(name, "") for name in subjects}
        return {name: place for place, name in enumerate(draw_order(site, subjects, self.seed))}

    def _split(self, site: str, subjects: Sequence[str]) -> dict[str, str]:
        """Subject -> split. Raises FederationError for too few subjects, or for one that the given table does not name."""
        if self.splits:
            return given_splits(self._given_splits(), Path(self.splits), site, subjects)
        return draw_splits(site, subjects, self.seed, self.val, self.test)


def _json_ready(value: Any) -> Any:
    """The value with its enumerations by name, so that it can be written as JSON."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, dict):
        return {str(key): _json_ready(item) for key, item in value.items()}
    return [_json_ready(item) for item in value] if isinstance(value, list | tuple) else value
