"""Plugin files: each path in FEDSYNTH_PLUGINS is the module `fedsynth.plugins.<stem>`, in every process.

Unpickling an object imports its class's module by name, and importing any `fedsynth.plugins.x` imports this module first,
which installs the finder. So a worker that spawn or loky starts finds what its parent found, without being told.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

VARIABLE = "FEDSYNTH_PLUGINS"
__path__: list[str] = []  # a module with a path is a package; the finder knows what lies in it


def plugin_files() -> list[Path]:
    """The plugin files that the environment names, absolute, once each."""
    given = filter(None, os.environ.get(VARIABLE, "").split(os.pathsep))
    return list(dict.fromkeys(Path(os.path.abspath(os.path.expanduser(text))) for text in given))


def load_plugin(path: Path) -> ModuleType:
    """The module of a plugin file.

    Raises:
        ImportError: The path cannot be a plugin; a file may raise whatever it likes.
    """
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise ImportError(
            f"{VARIABLE} names {path}; a plugin is a .py file whose name is an identifier, such as my_method.py"
        )
    if not path.is_file():
        raise ImportError(f"{VARIABLE} names {path}, and there is no such file")
    return import_module(f"{__name__}.{path.stem}")


class _Loader(SourceFileLoader):
    def path_stats(self, path: object) -> dict[str, int]:
        """Use no bytecode cache, which tells versions apart by whole seconds: a plugin may be edited and rerun within one."""
        raise OSError


class _Finder:
    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, stem = name.rpartition(".")
        for file in plugin_files() if package == __name__ else ():
            if file.stem == stem:
                return spec_from_file_location(name, file, loader=_Loader(name, str(file)))
        return None


sys.meta_path.append(_Finder)
if VARIABLE in os.environ:  # absolute, for workers that start in another folder
    os.environ[VARIABLE] = os.pathsep.join(map(str, plugin_files()))
