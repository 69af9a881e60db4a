"""Which methods, networks, data sets, optimisers, schedules and metrics there are: the files of their folders, the entry points
of installed packages, and the files that FEDSYNTH_PLUGINS names."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, fields
from difflib import get_close_matches
from enum import Enum
from functools import cached_property, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import get_annotations
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from . import plugins

if TYPE_CHECKING:
    from .federation import Dataset
    from .method import Method
    from .networks.network import Network
    from .runtime.metric import ImageMetric
    from .runtime.optimizers.optimizer import Optimizer
    from .runtime.schedules.schedule import Schedule

T = TypeVar("T")
PLAIN = (bool, int, float, str, list, tuple, dict, set, Enum)  # what an option can be


class RegistryError(LookupError):
    """Nothing has the name, or two things have it; or a class cannot be what it is registered as."""


class Entry(NamedTuple, Generic[T]):
    """A name, the class that it stands for, and where it was found."""

    name: str
    cls: type[T]
    origin: str


class _Source(NamedTuple, Generic[T]):
    """Where classes come from, the only name that they can have there (empty: the import shows it), and how they are loaded."""

    origin: str
    name: str
    load: Callable[[], dict[str, type[T]]]


class Registry(Generic[T]):
    """Name -> class, for one kind of thing. Who asks for a name imports what can have it; who asks for all, each once.

    Args:
        kind: What messages call the thing.
        base: The class that all derive from, as "module:name".
        folder: The package that has the built-in ones, one a module. Its first and its last part name the entry-point group of
            those of other packages: fedsynth.networks, fedsynth.optimizers.

    Example:
        >>> METHODS["fedbn"].__name__, METHODS.name_of(METHODS["fedbn"])
        ('FedBN', 'fedbn')
        >>> METHODS["fedbm"]
        Traceback (most recent call last):
        ...
        fedsynth.registry.RegistryError: no method 'fedbm'; the nearest are ...fedbn...
    """

    def __init__(self, kind: str, base: str, folder: str) -> None:
        self.kind, self.base, self.folder = kind, base, folder
        self._known: dict[str, type[T]] = {}
        parts = folder.split(".")
        self.group = ".".join(dict.fromkeys((parts[0], parts[-1])))

    def __getitem__(self, name: str) -> type[T]:
        """The class of a name.

        Raises:
            RegistryError: Nothing has the name; the message has the nearest names, and what failed to load.
        """
        if name not in self._known:
            found, _ = self._load(source for source in self._sources() if source.name in (name, ""))
            self._known.update((own, entry.cls) for own, entry in found.items())
        if name in self._known:
            return self._known[name]
        entries = self.entries()
        near = get_close_matches(name, entries, cutoff=0.5)
        hint = f"the nearest are {', '.join(near)}" if near else f"there are {', '.join(entries)}"
        failed = [f"\n{origin} failed to load: {reason}" for origin, reason in self.broken().items()]
        raise RegistryError(f"no {self.kind} {name!r}; {hint}{''.join(failed)}")

    def entries(self) -> dict[str, Entry[T]]:
        """Every entry, by name.

        Raises:
            RegistryError: Two things have one name.
        """
        return self._found[0]

    def broken(self) -> dict[str, str]:
        """Origin -> reason, for everything that failed to load. The others load all the same."""
        return self._found[1]

    def name_of(self, cls: type[T]) -> str:
        """The name under which a class is registered.

        Raises:
            RegistryError: It is registered under no name.
        """
        for name, entry in self.entries().items():
            if entry.cls is cls:
                return name
        raise RegistryError(f"{cls.__module__}.{cls.__qualname__} is registered as no {self.kind}")

    @cached_property
    def _found(self) -> tuple[dict[str, Entry[T]], dict[str, str]]:
        return self._load(self._sources())

    def _load(self, sources: Iterable[_Source[T]]) -> tuple[dict[str, Entry[T]], dict[str, str]]:
        found: dict[str, Entry[T]] = {}
        broken: dict[str, str] = {}
        for origin, _, load in sources:
            try:
                classes = load()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a plugin may do anything when it is imported, even exit
                broken[origin] = f"{type(error).__name__}: {error}"
                continue
            for name, cls in classes.items():
                if name in found and found[name].cls is not cls:
                    raise RegistryError(
                        f"two {self.kind}s are named {name!r}: {found[name].origin} and {origin}; rename one"
                    )
                found.setdefault(name, Entry(name, cls, origin))
        return dict(sorted(found.items())), broken

    def _sources(self) -> Iterator[_Source[T]]:
        for module in pkgutil.iter_modules(import_module(self.folder).__path__):
            yield _Source(f"{self.folder}.{module.name}", module.name, partial(self._built_in, module.name))
        for point in entry_points(group=self.group):
            package = f"{point.dist.name} {point.dist.version}" if point.dist else "a package"
            yield _Source(f"{package} ({point.value})", point.name, partial(self._entry_point, point))
        stems: dict[str, Path] = {}
        for path in plugins.plugin_files():
            if stems.setdefault(path.stem, path) != path:
                raise RegistryError(f"two plugin files have one name: {stems[path.stem]} and {path}; rename one")
            yield _Source(str(path), "", partial(self._plugin, path))

    def _built_in(self, name: str) -> dict[str, type[T]]:
        classes = self._defined_in(import_module(f"{self.folder}.{name}"))
        if len(classes) > 1:
            raise RegistryError(f"defines {len(classes)} {self.kind}s; a file holds one")
        return {name: classes[0]} if classes else {}

    def _entry_point(self, point: EntryPoint) -> dict[str, type[T]]:
        return {point.name: self._accepted(point.load())}

    def _plugin(self, path: Path) -> dict[str, type[T]]:
        classes = self._defined_in(plugins.load_plugin(path))
        return {path.stem if len(classes) == 1 else cls.__name__.lower(): cls for cls in classes}

    def _defined_in(self, module: ModuleType) -> list[type[T]]:
        """The subclasses that a module, or a package with its modules, defines itself, without those that it imports."""
        own = {
            value: None
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, self._root)
            and value is not self._root
            and f"{value.__module__}.".startswith(f"{module.__name__}.")
        }
        return [self._accepted(cls) for cls in own]

    @cached_property
    def _root(self) -> type[T]:
        module, _, name = self.base.partition(":")
        root: type[T] = getattr(import_module(module), name)
        return root

    def _accepted(self, cls: Any) -> type[T]:
        """The class, if it can be an entry; else raises RegistryError."""
        if not (isinstance(cls, type) and issubclass(cls, self._root)):
            raise RegistryError(f"{cls!r} is not a subclass of {self._root.__name__}")
        if lacking := getattr(cls, "__abstractmethods__", None):
            raise RegistryError(f"{cls.__name__} lacks {', '.join(sorted(lacking))}")
        options = {option.name: option for option in fields(cls)}  # type: ignore[arg-type]  # its base is a dataclass
        for name, annotation in get_annotations(cls).items():
            if name not in options and "ClassVar" not in str(annotation):
                raise RegistryError(f"{cls.__name__} lacks its @dataclass decorator, so that {name} is no option")
        self._check_attributes(cls)
        for name, option in options.items():
            nearest = next(parent for parent in cls.__mro__ if name in get_annotations(parent))
            theirs = getattr(nearest, "__dataclass_fields__", {}).get(name)
            if option is not theirs or option.default != getattr(cls, name, MISSING):
                # in silence, a dataclass lets a default that its first parent inherits win over one that its second sets
                raise RegistryError(
                    f"{cls.__name__}.{name} has two defaults, from two parents or from an assignment without a type; "
                    f"write `{name}: TYPE = DEFAULT` in {cls.__name__}"
                )
        return cls

    def _check_attributes(self, cls: type[T]) -> None:
        """Raises RegistryError for what looks like an option or a hook of the class and would silently be none."""
        for parent in cls.__mro__[: cls.__mro__.index(self._root)]:
            for name, value in vars(parent).items():
                if not hasattr(self._root, name) and hasattr(self._root, british := name.replace("z", "s")):
                    raise RegistryError(f"{parent.__name__}.{name} is called by nobody; the hook is spelt {british}")
                typed = any(name in get_annotations(other) for other in cls.__mro__)
                if isinstance(value, PLAIN) and not (typed or name.startswith("_") or name.isupper()):
                    raise RegistryError(
                        f"{parent.__name__}.{name} = {value!r} has no type, so it is no option; write `{name}: "
                        f"{type(value).__name__} = {value!r}` under @dataclass, or `{name}: ClassVar = {value!r}` for a constant"
                    )


METHODS: Registry[Method] = Registry("method", "fedsynth.method:Method", "fedsynth.methods")
NETWORKS: Registry[Network] = Registry("network", "fedsynth.networks.network:Network", "fedsynth.networks")
DATASETS: Registry[Dataset] = Registry("data set", "fedsynth.federation:Dataset", "fedsynth.datasets")
OPTIMIZERS: Registry[Optimizer] = Registry(
    "optimiser", "fedsynth.runtime.optimizers.optimizer:Optimizer", "fedsynth.runtime.optimizers"
)
SCHEDULES: Registry[Schedule] = Registry(
    "schedule", "fedsynth.runtime.schedules.schedule:Schedule", "fedsynth.runtime.schedules"
)
METRICS: Registry[ImageMetric] = Registry(
    "metric", "fedsynth.runtime.metric:ImageMetric", "fedsynth.evaluation.metrics"
)
REGISTRIES: dict[str, Registry[Any]] = {  # by the word that chooses from it: method=fedbn, optimizer=sgd
    "network": NETWORKS,
    "dataset": DATASETS,
    "method": METHODS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}
PLUGGABLE = REGISTRIES | {"metric": METRICS}  # also what no run chooses: all metrics score all test subjects
