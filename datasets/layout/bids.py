"""The volumes of a BIDS data set, found by ancpBIDS. Their suffixes are the contrasts."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from fedsynth.federation import FederationError

from .pattern import Match
from .walk import walk


def match_bids(root: Path, suffixes: Collection[str]) -> Iterator[Match]:
    """Every NIfTI file of the raw data with one of the suffixes, sorted by path. Derivatives are ignored.

    A match has no `site`, because no BIDS path has one; `subject` and `session` keep their prefixes, as in `sub-01`. ancpBIDS is
    given the paths: left to itself it follows a symbolic link into its own parent for ever and loads a pickle from the folder.
    """
    try:
        from ancpbids import DatasetOptions, load_dataset
    except ImportError as error:
        raise FederationError("reading BIDS needs ancpbids; pip install 'fedsynth[volumes]'") from error
    if not (root / "dataset_description.json").is_file():
        raise FederationError(
            f"{root} has no dataset_description.json, so it is not a BIDS data set; correct dataset.root"
        )
    paths = [path.relative_to(root).as_posix() for path in walk(root)]
    try:
        found: list[Any] = load_dataset(str(root), DatasetOptions(ignore_pickle_file=True), paths=paths).query(
            suffix=list(suffixes), scope="raw", extension=[".nii", ".nii.gz"], return_type="object"
        )
    except Exception as error:  # a damaged description can raise anything
        raise FederationError(f"{root} cannot be read as BIDS ({type(error).__name__}: {error})") from error
    for file in sorted(found, key=lambda file: file.get_relative_path()):
        entities = file.get_entities()
        if "sub" in entities and "derivatives" not in Path(file.get_relative_path()).parts:
            session = f"ses-{entities['ses']}" if "ses" in entities else ""
            fields = {"subject": f"sub-{entities['sub']}", "session": session, "contrast": file.suffix}
            yield Match(root / file.get_relative_path(), fields)
