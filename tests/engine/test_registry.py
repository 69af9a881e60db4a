"""The registry on rooms, packages and plugin files made here; what the real ones hold is tested where they are."""

from __future__ import annotations

import ast
import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import fedsynth
from fedsynth import plugins
from fedsynth.registry import DATASETS, METHODS, NETWORKS, Registry, RegistryError

BASE = """
from abc import ABC, abstractmethod
from dataclasses import dataclass

@dataclass
class Thing(ABC):
    network: str = "plain"
    @abstractmethod
    def act(self): ...

@dataclass
class Parent(Thing):
    mu: float = 0.5
    def act(self): return self.mu
"""
HEAD = "from dataclasses import dataclass, field\nfrom typing import ClassVar\nfrom thing_base import Parent, Thing\n"
ONE = "@dataclass\nclass {name}(Parent):\n    pass\n"


class Room:
    """A room with built-in files, packages installed beside it and plugin files, all in a temporary folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        (folder / "thing_base.py").write_text(BASE)
        (folder / "room_of_things").mkdir()
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delenv(plugins.VARIABLE, raising=False)

    def write(self, path: str, source: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(HEAD + dedent(source))
        return file

    def built_in(self, name: str, source: str) -> Path:
        return self.write(f"room_of_things/{name}.py", source)

    def installed(self, entry: str, source: str, distribution: str = "acme-things") -> None:
        """What pip leaves of a package with one entry point."""
        self.write(entry.partition("=")[2].partition(":")[0].strip() + ".py", source)
        info = self.folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[room_of_things]\n{entry}\n")

    def plugin(self, path: str, source: str) -> Path:
        file = self.write(path, source)
        named = [os.environ[plugins.VARIABLE]] if plugins.VARIABLE in os.environ else []
        self.monkeypatch.setenv(plugins.VARIABLE, os.pathsep.join([*named, str(file)]))
        return file

    def registry(self) -> Registry[Any]:
        importlib.invalidate_caches()
        return Registry("thing", "thing_base:Thing", "room_of_things")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    before = set(sys.modules)
    yield Room(tmp_path, monkeypatch)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None) or sys.modules[name].__spec__):
            del sys.modules[name]


def test_a_file_of_the_room_is_an_entry_under_its_own_name(room: Room) -> None:
    room.built_in("zeta", ONE.format(name="SomeThing"))
    room.built_in("alpha", ONE.format(name="Other"))
    room.built_in("shared", "VALUE = 1")  # defines none, although it imports Parent
    room.built_in("grouped/__init__", "from .inner import Inner")
    room.built_in("grouped/inner", ONE.format(name="Inner"))
    registry = room.registry()
    assert {name: (entry.name, entry.cls.__name__, entry.origin) for name, entry in registry.entries().items()} == {
        "alpha": ("alpha", "Other", "room_of_things.alpha"),
        "grouped": ("grouped", "Inner", "room_of_things.grouped"),
        "zeta": ("zeta", "SomeThing", "room_of_things.zeta"),
    }
    assert list(registry.entries()) == ["alpha", "grouped", "zeta"]
    assert registry["zeta"] is sys.modules["room_of_things.zeta"].SomeThing
    assert registry.name_of(registry["zeta"]) == "zeta"
    assert registry.broken() == {}


def test_who_asks_for_a_name_imports_nothing_that_cannot_have_it(room: Room) -> None:
    for name in ("alpha", "beta"):
        room.built_in(name, ONE.format(name="Any"))
    room.installed("theirs = acme_things:Mine", ONE.format(name="Mine"))
    room.plugin("own.py", ONE.format(name="Own"))  # only its import shows what it has
    registry = room.registry()
    before = set(sys.modules)
    assert registry["alpha"].__module__ == "room_of_things.alpha"
    made = ("room_of_things", "acme_things", "fedsynth.plugins.own")
    assert {name for name in set(sys.modules) - before if name.startswith(made)} == {
        *("room_of_things", "room_of_things.alpha", "fedsynth.plugins.own")
    }
    assert registry["theirs"] is sys.modules["acme_things"].Mine
    assert "room_of_things.beta" not in sys.modules


def test_an_unregistered_class_has_no_name(room: Room) -> None:
    room.built_in("alpha", ONE.format(name="Alpha"))
    registry = room.registry()
    parent = sys.modules.get("thing_base") or importlib.import_module("thing_base")
    with pytest.raises(RegistryError, match=r"thing_base\.Parent is registered as no thing"):
        registry.name_of(parent.Parent)


def test_an_installed_package_adds_an_entry_under_the_name_of_its_entry_point(room: Room) -> None:
    room.built_in("alpha", ONE.format(name="Alpha"))
    room.installed("mine = acme_things:Mine", ONE.format(name="Mine"))
    registry = room.registry()
    assert registry["mine"] is importlib.import_module("acme_things").Mine
    assert registry.entries()["mine"].origin == "acme-things 1.2 (acme_things:Mine)"


def test_a_plugin_file_adds_its_class_under_its_stem_and_several_under_their_names(room: Room) -> None:
    file = room.plugin("elsewhere/my_method.py", ONE.format(name="Whatever"))
    room.plugin("elsewhere/two.py", ONE.format(name="First") + ONE.format(name="Second"))
    registry = room.registry()
    assert list(registry.entries()) == ["first", "my_method", "second"]
    assert registry.entries()["my_method"].origin == str(file)
    cls = registry["my_method"]
    assert cls.__module__ == "fedsynth.plugins.my_method"
    assert pickle.loads(pickle.dumps(cls)) is cls


def test_a_plugin_file_named_twice_is_one(room: Room) -> None:
    file = room.plugin("mine.py", ONE.format(name="Mine"))
    room.monkeypatch.setenv(plugins.VARIABLE, os.pathsep.join([str(file), "", str(file)]))
    assert list(room.registry().entries()) == ["mine"]


def test_an_unknown_name_is_answered_with_the_nearest(room: Room) -> None:
    for name in ("fedavg", "fedbn", "scaffold"):
        room.built_in(name, ONE.format(name="Any"))
    with pytest.raises(RegistryError) as caught:
        room.registry()["fedbm"]
    assert str(caught.value) == "no thing 'fedbm'; the nearest are fedbn, fedavg"
    with pytest.raises(RegistryError) as caught:
        room.registry()["xyz"]
    assert str(caught.value) == "no thing 'xyz'; there are fedavg, fedbn, scaffold"


def test_an_unknown_name_is_answered_with_what_failed_to_load(room: Room) -> None:
    room.built_in("alpha", ONE.format(name="Alpha"))
    file = room.plugin("mine.py", "import no_such_package")
    with pytest.raises(RegistryError) as caught:
        room.registry()["mine"]
    assert f"\n{file} failed to load: ModuleNotFoundError: No module named 'no_such_package'" in str(caught.value)


def test_a_clash_names_both_origins(room: Room) -> None:
    room.built_in("alpha", ONE.format(name="Alpha"))
    room.installed("alpha = acme_things:Mine", ONE.format(name="Mine"))
    with pytest.raises(RegistryError) as caught:
        room.registry().entries()
    text = "two things are named 'alpha': room_of_things.alpha and acme-things 1.2 (acme_things:Mine); rename one"
    assert str(caught.value) == text


def test_two_plugin_files_of_one_name_are_an_error_naming_both(room: Room) -> None:
    first, second = (room.plugin(f"{place}/mine.py", ONE.format(name="Mine")) for place in ("here", "there"))
    with pytest.raises(RegistryError) as caught:
        room.registry().entries()
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("class Broken(:", "SyntaxError: invalid syntax"),
        ("raise GeneratorExit('odd')", "GeneratorExit: odd"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_reported_and_harms_nothing(room: Room, source: str, reason: str) -> None:
    room.built_in("alpha", ONE.format(name="Alpha"))
    room.installed("theirs = acme_things:Mine", source)
    file = room.plugin("mine.py", source)
    room.plugin("good.py", ONE.format(name="Good"))
    registry = room.registry()
    assert list(registry.entries()) == ["alpha", "good"]
    assert set(registry.broken()) == {str(file), "acme-things 1.2 (acme_things:Mine)"}
    assert all(text.startswith(reason) for text in registry.broken().values()), registry.broken()


def test_the_user_can_still_interrupt(room: Room) -> None:
    room.plugin("mine.py", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        room.registry().entries()


@pytest.mark.parametrize(
    ("path", "reason"),
    [("absent.py", "and there is no such file"), ("my-method.py", "an identifier"), ("notes.txt", "a .py file")],
)
def test_a_path_that_is_no_plugin_is_reported(room: Room, path: str, reason: str) -> None:
    if path != "absent.py":
        room.write(path, ONE.format(name="Mine"))
    room.monkeypatch.setenv(plugins.VARIABLE, str(room.folder / path))
    (found,) = room.registry().broken().values()
    assert reason in found
    assert path in found


PARENTS = """
@dataclass
class Left(Parent):
    pass

@dataclass
class Right(Thing):
    network: str = "personalised"
    def act(self): return 0
"""
LISTS = """
@dataclass
class Lists(Thing):
    sizes: list = field(default_factory=lambda: [1])

@dataclass
class Left(Lists):
    def act(self): return 0

@dataclass
class Right(Lists):
    sizes: list = field(default_factory=lambda: [2])
"""


@pytest.mark.parametrize(
    ("parents", "body", "reason"),
    [
        (PARENTS, "@dataclass\nclass Mine(Left, Right): pass", "Mine.network has two defaults"),
        (LISTS, "@dataclass\nclass Mine(Left, Right): pass", "Mine.sizes has two defaults"),
        ("", "@dataclass\nclass Mine(Parent):\n    mu = 0.1", "Mine.mu has two defaults"),
        (
            "",
            "class Mine(Parent):\n    rate: float = 0.1",
            "Mine lacks its @dataclass decorator, so that rate is no option",
        ),
        ("", "@dataclass\nclass Mine(Thing): pass", "Mine lacks act"),
        *(
            (
                f"class Untyped(Thing):\n    act = lambda self: 0\n    rate = {value}",
                f"class Mine(Untyped):{body}",
                told,
            )
            for value, body, told in (
                (
                    "0.1",
                    "\n    mu = 0.1\n    rate = 2",
                    "Mine.mu = 0.1 has no type, so it is no option; write `mu: float = 0.1` ",
                ),
                ("0.1", " pass", "Untyped.rate = 0.1 has no type"),
                ("[1, 2]", " pass", "write `rate: list = [1, 2]` under @dataclass, or `rate: ClassVar = [1, 2]`"),
            )
        ),
        ("", "class Mine: pass", "is not a subclass of Thing"),
    ],
)
def test_a_class_whose_options_would_lie_is_refused(room: Room, parents: str, body: str, reason: str) -> None:
    room.write("two_parents.py", parents)
    room.installed("mine = acme_things:Mine", f"from two_parents import *\n{body}")
    (found,) = room.registry().broken().values()
    assert reason in found
    assert room.registry().entries() == {}


@pytest.mark.parametrize(
    "body",
    [
        '@dataclass\nclass Mine(Left, Right):\n    network: str = "personalised"',
        "@dataclass\nclass Mine(Right, Left): pass",
        "class Mine(Parent):\n    published: ClassVar[str] = 'unet'",
        "class Mine(Parent):\n    published: ClassVar[str] = 'unet'\nclass Mine(Mine):\n    published = 'resnet'",
        "class Mine(Parent):\n    STEPS, _held = 3, 0.1",
    ],
)
def test_a_class_whose_options_are_what_they_say_is_accepted(room: Room, body: str) -> None:
    room.write("two_parents.py", PARENTS)
    room.installed("mine = acme_things:Mine", f"from two_parents import *\n{body}")
    cls = room.registry()["mine"]
    assert cls().network == cls.network


def test_a_hook_in_other_spelling_is_refused(room: Room) -> None:
    source = "from fedsynth.method import Method\nclass Mine(Method):\n    def personalize(self, site): site.fit(2)"
    room.plugin("mine.py", source)
    methods: Registry[Any] = Registry("method", "fedsynth.method:Method", "room_of_things")
    (found,) = methods.broken().values()
    assert found == "RegistryError: Mine.personalize is called by nobody; the hook is spelt personalise"


def test_a_built_in_file_holds_one_class(room: Room) -> None:
    room.built_in("pair", ONE.format(name="First") + ONE.format(name="Second"))
    assert room.registry().broken() == {"room_of_things.pair": "RegistryError: defines 2 things; a file holds one"}


def test_an_edited_plugin_is_not_served_from_a_bytecode_cache(room: Room) -> None:
    file = room.plugin("mine.py", ONE.format(name="One"))
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert room.registry()["mine"].__name__ == "One"
    room.write("mine.py", ONE.format(name="Two"))  # as many bytes, in the same second
    os.utime(file, (1_000_000_000, 1_000_000_000))
    del sys.modules["fedsynth.plugins.mine"]
    assert room.registry()["mine"].__name__ == "Two"


def test_relative_plugin_paths_are_made_absolute_for_workers_that_start_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    code = "import os, fedsynth.plugins; os.chdir('/'); print(os.environ['FEDSYNTH_PLUGINS']); import fedsynth.plugins.mine"
    root = str(Path(fedsynth.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, plugins.VARIABLE: "mine.py"}
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert shown.strip() == str(tmp_path / "mine.py")


@pytest.mark.parametrize("registry", [METHODS, NETWORKS, DATASETS], ids=lambda registry: registry.kind)
def test_every_built_in_loads(registry: Registry[Any]) -> None:
    assert registry.entries()
    assert registry.broken() == {}


def test_every_public_name_is_what_type_checkers_are_told() -> None:
    tree = ast.parse(Path(fedsynth.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    told = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told == fedsynth._HOME  # where a public name is looked up when it is first asked for
    for name, home in told.items():
        assert getattr(fedsynth, name) is getattr(importlib.import_module(f"fedsynth.{home}"), name)
        assert name in dir(fedsynth)
    with pytest.raises(AttributeError, match="'no_such_name'"):
        fedsynth.__getattr__("no_such_name")
