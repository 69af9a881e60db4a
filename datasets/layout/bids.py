"""The volumes of a BIDS data set, found by ancpBIDS. Their suffixes are the contrasts, with `ce_` in front if enhanced."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from fedsynth.federation import FederationError
from fedsynth.federation.names import LONGEST

from .pattern import Match
from .walk import walk

NOT_RAW = {"derivatives", "sourcedata"}  # folders of BIDS that hold no raw data
MAGNITUDE = (
    None,
    "mag",
)  # values of the entity `part` of an image that shows a contrast; others are phase, real and imag
DESCRIPTION = "dataset_description.json"


def match_bids(root: Path, contrasts: Collection[str]) -> Iterator[Match]:
    """Every NIfTI file of the raw data that shows one of the contrasts, sorted by path. Derivatives are ignored.

    A contrast is a suffix, such as `T1w`, or `ce_` and a suffix for images after a contrast agent (entity `ce`), which a plain
    suffix never means. Phase, real and imaginary parts are left out. Of several images of a contrast in one session, those
    without `acq` go before those with it, then likewise `rec`; of images that differ in their `run` alone, the lowest is taken.
    What is still several is left to the caller.

    A match has no `site`, because no BIDS path has one; `subject` and `session` keep their prefixes, as in `sub-01`. ancpBIDS is
    given the paths of volumes alone: left to itself it follows a symbolic link into its own parent for ever, loads a pickle from
    the folder, and stops at a damaged file that no volume needs.
    """
    try:
        from ancpbids import DatasetOptions, load_dataset
    except ImportError as error:
        raise FederationError("reading BIDS needs ancpbids; pip install 'fedsynth[volumes]'") from error
    _description(root)  # ancpBIDS would not name it
    below = [path.relative_to(root) for path in walk(root) if path.name.endswith((".nii", ".nii.gz"))]
    paths = [path.as_posix() for path in below if not NOT_RAW & set(path.parts)]
    suffixes = [contrast.removeprefix("ce_") for contrast in contrasts]
    try:
        found: list[Any] = load_dataset(str(root), DatasetOptions(ignore_pickle_file=True), paths=paths).query(
            suffix=suffixes, scope="raw", extension=[".nii", ".nii.gz"], return_type="object"
        )
    except Exception as error:  # a damaged description can raise anything
        raise FederationError(f"{root} cannot be read as BIDS ({type(error).__name__}: {error})") from error
    alike: dict[tuple[str, str, str], list[tuple[str, dict[str, Any]]]] = {}
    for file in found:
        entities = file.get_entities()
        contrast = f"ce_{file.suffix}" if "ce" in entities else file.suffix
        if "sub" in entities and contrast in contrasts and entities.get("part") in MAGNITUDE:
            session = f"ses-{entities['ses']}" if "ses" in entities else ""
            who = (f"sub-{entities['sub']}", session, contrast)
            alike.setdefault(who, []).append((file.get_relative_path(), entities))
    chosen = [(path, who) for who, files in alike.items() for path in _chosen(files)]
    for path, who in sorted(chosen):
        yield Match(root / path, dict(zip(("subject", "session", "contrast"), who, strict=True)))


def _chosen(files: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """Of images of one contrast in one session, by path and entities, the paths of those to use."""
    for entity in ("acq", "rec"):
        files = [file for file in files if entity not in file[1]] or files
    runs: dict[frozenset[tuple[str, Any]], dict[int, list[str]]] = {}  # the other entities -> run -> paths
    for path, entities in files:
        others = frozenset((key, value) for key, value in entities.items() if key != "run")
        run = str(entities.get("run", ""))
        runs.setdefault(others, {}).setdefault(int(run) if run.isdecimal() else 0, []).append(path)
    return [path for by_run in runs.values() for path in by_run[min(by_run)]]


def data_set_name(root: Path) -> str:
    """The name of a BIDS data set, made fit to name a site; that of its folder if it has none.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "dataset_description.json").write_text('{"Name": "Age & memory (2019)"}')
        ...     data_set_name(Path(folder))
        'Age_memory_2019'
    """
    given = [str(_description(root).get("Name") or ""), root.resolve().name]
    names = (re.sub(r"[^\w-]+", "_", name).strip("_-")[:LONGEST].strip("_-") for name in given)
    return next(filter(None, names), "bids")


def _description(root: Path) -> dict[str, Any]:
    """What dataset_description.json says. Raises FederationError if there is none, or if it cannot be read."""
    path = root / DESCRIPTION
    if not path.is_file():
        raise FederationError(f"{root} has no {DESCRIPTION}, so it is not a BIDS data set; correct dataset.root")
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FederationError(f"{path} cannot be read as JSON ({error}); mend it or restore it") from error
    if not isinstance(found, dict):
        raise FederationError(f"{path} is no JSON object with a Name and a BIDSVersion; mend it or restore it")
    return found
