"""The words of a command become a configuration: out of the built-in files, one's own, and what is registered."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra import compose, initialize_config_module
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig

from .errors import OptionError
from .own_files import BUILT_IN, VARIABLE, conf_folders, own_folder
from .schema import register


class OwnFiles(SearchPathPlugin):
    """Lets Hydra look for choices in the folder of one's own files too.

    Raises OptionError where FEDSYNTH_CONF names no folder, and for a file that has the name of another choice: Hydra would take
    one of the two in silence.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if os.environ.get(VARIABLE) and not own_folder().is_dir():
            raise OptionError(f"{VARIABLE} names {own_folder()}, and there is no such folder")
        for folder in conf_folders()[1:]:
            for path in sorted(folder.glob("*/*.yaml")):
                if theirs := already_there(path.parent.name, path.stem):
                    group = path.parent.name
                    raise OptionError(f"two {group}s are named {path.stem!r}: {theirs} and {path}; rename the second")
            search_path.append("own", f"file://{folder.absolute()}")


Plugins.instance().register(OwnFiles)


def already_there(group: str, name: str) -> str:
    """The built-in or registered choice that has this name; empty if there is none."""
    if (path := BUILT_IN / group / f"{name}.yaml").is_file():
        return str(path)
    return f"the registered {group}" if f"{name}.yaml" in ConfigStore.instance().repo.get(group, {}) else ""


def load_choices() -> None:
    """Register every method, network and data set; say what failed to load; the others load all the same."""
    for origin, reason in register().items():
        print(f"fedsynth: {origin} failed to load: {reason}", file=sys.stderr)


@contextmanager
def hydra_session() -> Iterator[None]:
    """Inside, Hydra knows what there is to choose from."""
    with initialize_config_module("fedsynth.conf", version_base="1.3"):
        yield


def composed(words: Sequence[str], *, with_hydra: bool = False) -> DictConfig:
    """The configuration that the words ask for."""
    with hydra_session():
        try:
            return compose("config", [*words], return_hydra_config=with_hydra)
        except AssertionError as error:  # of OmegaConf, where a word sets an entry of a list
            raise OptionError(f"a list is set as a whole, as in network.depths=[1,2]: {error}") from error
