"""FedSynth: federated-learning methods compared on multi-contrast MRI synthesis across sites.

These are the engine's public names, each imported when it is first asked for: `import fedsynth` loads neither torch nor a
method. Methods, data sets, the harness and its configuration import as `fedsynth.methods`, `fedsynth.datasets`,
`fedsynth.benchmarks` and `fedsynth.conf`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the names of _HOMES, for type checkers
    from .federation import (
        Dataset as Dataset,
        Federation as Federation,
        FederationError as FederationError,
        Site as Site,
        Subject as Subject,
        Task as Task,
    )
    from .federation.scenario import Scenario as Scenario
    from .method import Method as Method
    from .networks.network import Generator as Generator, Network as Network, Norm as Norm, Role as Role, Stage as Stage
    from .registry import (
        DATASETS as DATASETS,
        METHODS as METHODS,
        METRICS as METRICS,
        NETWORKS as NETWORKS,
        OPTIMIZERS as OPTIMIZERS,
        SCHEDULES as SCHEDULES,
        RegistryError as RegistryError,
    )
    from .runtime.metric import ImageMetric as ImageMetric, MetricError as MetricError, Region as Region
    from .runtime.optimizers.optimizer import Optimizer as Optimizer
    from .runtime.options import TrainerOptions as TrainerOptions
    from .runtime.schedules.schedule import Schedule as Schedule
    from .trainer import Outcome as Outcome, Trainer as Trainer

__version__ = "0.1.0"

_HOMES = {
    "federation": ("Dataset", "Federation", "FederationError", "Site", "Subject", "Task"),
    "method": ("Method",),
    "networks.network": ("Generator", "Network", "Norm", "Role", "Stage"),
    "runtime.metric": ("ImageMetric", "MetricError", "Region"),
    "runtime.optimizers.optimizer": ("Optimizer",),
    "runtime.options": ("TrainerOptions",),
    "runtime.schedules.schedule": ("Schedule",),
    "registry": ("DATASETS", "METHODS", "METRICS", "NETWORKS", "OPTIMIZERS", "SCHEDULES", "RegistryError"),
    "federation.scenario": ("Scenario",),
    "trainer": ("Outcome", "Trainer"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fedsynth' has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


class _Rooms:
    """Finds all of a checkout, whose rooms lie beside the engine; in a wheel they lie inside it and this is not needed.

    What the checkout does not have, nobody has: the finder of an editable install may know another checkout, from which a
    module that was renamed here would come otherwise. Only the four rooms lie beside the engine: with the checkout's root on
    `__path__`, fedsynth.tests and a second fedsynth.fedsynth would import too.
    """

    rooms = ("fedsynth.methods", "fedsynth.datasets", "fedsynth.benchmarks", "fedsynth.conf")
    inside = Path(__file__).resolve().parent
    beside = inside.parent

    @classmethod
    def are_beside(cls) -> bool:
        """Whether this is a checkout: site-packages may hold a pyproject.toml too, even ours, and another `datasets`."""
        ours = '[project]\nname = "fedsynth"\n'
        project = cls.beside / "pyproject.toml"
        return not (cls.inside / "conf").exists() and project.is_file() and ours in project.read_text(errors="replace")

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith("fedsynth.") or name.startswith("fedsynth.plugins."):  # which plugins.py finds
            return None
        spec = PathFinder.find_spec(name, [str(cls.beside)] if name in cls.rooms else path)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {name!r} in the checkout {cls.beside}", name=name)
        return spec


if _Rooms.are_beside():
    sys.meta_path.insert(0, _Rooms)  # before the finder of an editable install
