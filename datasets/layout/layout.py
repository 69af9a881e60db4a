"""Where a data set's volumes lie, which of them make its sites, and how they become slices; conf/dataset/ has the known ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from fedsynth.federation import CONTRASTS, Dataset, FederationError, Site
from fedsynth.runtime.progress import ProgressBar

from ..store.slice_store import Row, SliceStore, json_digest
from ..store.splits import draw_splits, given_splits, read_splits
from ..volumes import Chain
from .bids import match_bids
from .checksum import Content, content_of
from .pattern import Match, check_pattern, match_pattern
from .prepare import Preparation, prepare_store
from .survey import CompleteSubject, Rules, Survey, refusal, survey
from .verify import Report, verify_volumes

PREPARATION = 1  # raise it when the arrays that unchanged options and volumes give change


class Kind(Enum):
    """What a volume is."""

    nifti = "nifti"  # a file
    dicom = "dicom"  # a folder with one series
    bids = "bids"  # a NIfTI file of a BIDS data set, found by its suffix, without a pattern


class OnError(Enum):
    """What becomes of a subject that cannot be used: nothing at all is made, or the others are, and it is listed."""

    stop = "stop"
    skip = "skip"


@dataclass
class Layout(Dataset):
    """Volumes under one folder, a subject's brought to one grid and cut into axial slices, kept as arrays in `out`.

    The subjects of a site share the contrasts that at least half of them have; who lacks one, or cannot be read, or whose
    registration is poor, cannot be used. Of a subject's sessions the first with every contrast is taken.
    """

    label: str = "folder"  # of the data set, in names and messages
    root: str = ""  # the folder
    kind: Kind = Kind.nifti
    pattern: str = "{site}/{subject}/{contrast}.nii.gz"  # under root; also {session} and *, any text without /
    contrast_names: dict[str, str] = field(
        default_factory=dict
    )  # in a path (BIDS: suffix) -> contrast; empty: CONTRASTS
    site: str = ""  # of every subject, where the pattern has no {site} and there is no table
    table: str = ""  # a .tsv or .csv under root that names each subject's site
    table_subject: str = "participant_id"  # its column of subjects, with or without sub-
    table_site: str = "site"  # its column of sites
    site_names: dict[str, str] = field(default_factory=dict)  # in the path or table -> site
    exclude: list[str] = field(default_factory=list)  # subjects, or site/subject; * is any text
    first: bool = False  # of several volumes of a contrast take the first by name, not none
    accept: list[str] = field(default_factory=list)  # subjects whose poor registration was looked at and found good
    volume: int | None = None  # index of the one to take from 4-D files
    chain: Chain = field(default_factory=Chain)
    val: float = 0.1  # share of a site's subjects
    test: float = 0.2  # share of a site's subjects
    seed: int = 0  # of the split
    splits: str = ""  # a table site,subject,split instead of val, test and seed
    on_error: OnError = OnError.stop
    documented: str = ""  # what the data set's makers say that it holds, for --verify
    out: str = ""  # where its arrays are kept; empty: prepared/LABEL-HASH, by these options

    def __post_init__(self) -> None:
        if min(self.val, self.test) <= 0 or self.val + self.test >= 1:
            raise FederationError(
                f"dataset: val {self.val} and test {self.test} must be positive and leave a share to train"
            )
        if self.kind is not Kind.bids:
            check_pattern(self.pattern)
            if not ("{site}" in self.pattern or self.site or self.table):
                raise FederationError(
                    f"the pattern {self.pattern} has no {{site}}; name the one site by dataset.site, or a table by dataset.table"
                )

    # --- a data set --------------------------------------------------------------------------------------------------

    def contrasts(self) -> Mapping[str, Sequence[str]]:
        return self.survey().contrasts

    def fingerprint(self, site: str) -> str:
        """Of all that the site's arrays and splits follow from: options, and every volume's subject, contrast and content."""
        found = self.survey()
        if site not in found.complete:
            raise FederationError(
                f"no site {site!r} under {self.folder}; there are {', '.join(sorted(found.complete))}"
            )
        return self.fingerprints(found, self.keys(found, self.contents(found)))[site]

    def load(self, site: str, cache: Path) -> Site:
        """The site, prepared now by one process unless it was before; `fedsynth prepare` does it ahead with several."""
        return self.prepare().site(site)

    def prepare(self, jobs: int = 1) -> SliceStore:
        """Its arrays, made or brought up to date by `jobs` processes unless they are there."""
        found = self.survey()
        contents = self.contents(found)
        keys = self.keys(found, contents)
        asked = Preparation(
            label=self.label,
            root=self.folder,
            place=self.place,
            chain=self.chain,
            volume=self.volume,
            found=found,
            contents=contents,
            keys=keys,
            fingerprints=self.fingerprints(found, keys),
            recipe=self.recipe(),
            divide=self.divide,
            accept=self.accept,
            skips=self.skips,
            documented=self.documented,
        )
        return prepare_store(asked, jobs)

    def verify(self) -> Report:
        """What the layout finds in its folder, without preparing anything. Raises FederationError where no file matches."""
        return verify_volumes(self.label, self.folder, self.sort(self.matches()), self.volume, self.documented)

    def volumes(self, site: str) -> list[Row]:
        """The lines of the index, `file` with its folder, of a site that is prepared."""
        return SliceStore.open(self.place).volumes(site)

    # --- what there is -----------------------------------------------------------------------------------------------

    def survey(self) -> Survey:
        """What lies under `root`; no volume is opened. Raises FederationError where nothing can be used, and with
        `on_error=stop` for whoever cannot."""
        found = self.sort(self.matches())
        if found.left_out and not self.skips:
            raise FederationError(refusal(found.left_out))
        if not any(found.complete.values()):
            reason = f" ({found.left_out[0]})" if found.left_out else ""
            raise FederationError(
                f"no subject under {self.folder} can be used{reason}; fedsynth prepare --verify says more"
            )
        return found

    def matches(self) -> list[Match]:
        """The volumes that the layout describes. Raises FederationError where there is none."""
        if not self.root:
            raise FederationError(
                f"dataset.root is empty; give the folder of {self.label}, as in dataset.root=data/{self.label}"
            )
        if not self.folder.is_dir():
            what = f"{self.folder} is a file" if self.folder.exists() else f"there is no folder {self.folder}"
            kept = (
                f". What was prepared from it is used without it: dataset=prepared 'dataset.folders=[{self.place}]'"
                if (self.place / "dataset.json").exists()
                else ""
            )
            raise FederationError(f"{what}; give the folder of {self.label} by dataset.root{kept}")
        if self.kind is Kind.bids:
            found = list(match_bids(self.folder, self.names))
        else:
            found = list(match_pattern(self.folder, self.pattern, self.names, self.kind is Kind.dicom))
        if not found:
            names = ", ".join(self.names)
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

    def sort(self, matches: Iterable[Match]) -> Survey:
        """Who is complete among the matches, and who is not."""
        rules = Rules(
            contrast_names=self.names,
            site=self.site or self.label,
            table=self.folder / self.table if self.table else None,
            table_subject=self.table_subject,
            table_site=self.table_site,
            site_names=self.site_names,
            exclude=self.exclude,
            first=self.first,
            mask=self.chain.mask if "{" in self.chain.mask else "",
        )
        return survey(self.folder, matches, rules)

    @property
    def names(self) -> Mapping[str, str]:
        """What stands in a path -> contrast."""
        return self.contrast_names or {contrast: contrast for contrast in CONTRASTS}

    @property
    def skips(self) -> bool:
        return self.on_error is OnError.skip

    @property
    def folder(self) -> Path:
        return Path(self.root).expanduser()

    # --- what it is made of ------------------------------------------------------------------------------------------

    @property
    def place(self) -> Path:
        """Where the arrays are kept."""
        options = {**self.recipe(), "root": str(self.folder.absolute())}
        return Path(self.out or f"prepared/{self.label}-{json_digest(options)[:8]}").expanduser()

    def recipe(self) -> dict[str, Any]:
        """The options that decide what becomes of a volume and its subject, apart from those that choose the subjects."""
        apart = ("label", "root", "out", "documented", "splits", "exclude", "accept", "on_error")
        options = {key: value for key, value in asdict(self).items() if key not in apart}
        return json_ready(options) | {"splits": self.table_of_splits(), "preparation": PREPARATION}

    def table_of_splits(self) -> Mapping[str, Mapping[str, str]]:
        """What the given table of splits says; empty where none is given."""
        return read_splits(Path(self.splits).expanduser()) if self.splits else {}

    def known(self) -> dict[Path, Content]:
        """Volume -> its content as the store in `place` has it."""
        if not (self.place / "dataset.json").exists():
            return {}
        rows = [row for row in SliceStore.open(self.place).index() if row["file"]]
        return {
            self.folder / row["file"]: Content(int(row["bytes"]), int(row["modified"]), row["sha256"]) for row in rows
        }

    def contents(self, found: Survey) -> dict[Path, Content]:
        """Volume or mask of a complete subject -> its content. A file that cannot be read raises FederationError, or has an
        empty content where its subject may be left out, as it will be."""
        known, contents = self.known(), dict[Path, Content]()
        for path in ProgressBar(found.files(), f"checking {self.label}", unit="file"):
            try:
                contents[path] = content_of(path, known)
            except FederationError:
                if not self.skips:
                    raise
                contents[path] = Content(0, 0, "")
        return contents

    def keys(self, found: Survey, contents: Mapping[Path, Content]) -> dict[tuple[str, str], str]:
        """(site, subject) -> a digest of all that the subject's arrays follow from."""
        chain = json_ready(asdict(self.chain))
        template = content_of(Path(self.chain.template).expanduser(), {}).sha256 if self.chain.template else ""

        def key(who: CompleteSubject) -> str:
            volumes = [(contrast, contents[path].sha256) for contrast, path in who.volumes.items()]
            mask = contents[who.mask].sha256 if who.mask else ""
            return json_digest((PREPARATION, chain, template, self.volume, volumes, mask))

        return {(site, name): key(who) for site, own in found.complete.items() for name, who in own.items()}

    def fingerprints(self, found: Survey, keys: Mapping[tuple[str, str], str]) -> dict[str, str]:
        """Site -> its fingerprint."""
        recipe = self.recipe()
        return {
            site: json_digest((site, recipe, sorted(self.accept), [(name, keys[site, name]) for name in own]))
            for site, own in found.complete.items()
        }

    def divide(self, site: str, subjects: Sequence[str]) -> dict[str, str]:
        """Subject -> split. Raises FederationError for too few subjects, or one that a given table does not name."""
        if self.splits:
            return given_splits(self.table_of_splits(), Path(self.splits), site, subjects)
        return draw_splits(site, subjects, self.seed, self.val, self.test)


def json_ready(value: Any) -> Any:
    """Enumerations by name, so that the value can be written as JSON."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    return [json_ready(item) for item in value] if isinstance(value, list | tuple) else value
