"""One's own experiments, scenarios, data sets and tuned options: the files in ./conf, or in the folder that FEDSYNTH_CONF names.

They lie in folders of the same names as the built-in ones (experiment/, scenario/, dataset/, tuned/) and are chosen in the same
way. Without Hydra, which help and completion need not load.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

VARIABLE = "FEDSYNTH_CONF"
BUILT_IN = Path(str(files("fedsynth.conf")))


def own_folder() -> Path:
    """Where one's own files are, or would be."""
    return Path(os.environ.get(VARIABLE) or "conf").expanduser()


def conf_folders() -> list[Path]:
    """The folder of the built-in files, and that of one's own if there is one. In the root of a checkout ./conf is the first."""
    own = own_folder()
    return [BUILT_IN, own] if own.is_dir() and not own.samefile(BUILT_IN) else [BUILT_IN]


def conf_files(group: str) -> dict[str, Path]:
    """Name -> file of everything that a group has a file for, sorted by name."""
    return dict(sorted((path.stem, path) for folder in conf_folders() for path in (folder / group).glob("*.yaml")))
