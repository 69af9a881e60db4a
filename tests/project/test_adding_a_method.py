"""docs/adding-a-method.md does what it says: its file is a method, its commands run, its package is found, its names exist."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from support.docs import DocPage, run

from fedsynth.exchange import Place
from fedsynth.method import Method
from fedsynth.registry import METHODS
from fedsynth.server import Server
from fedsynth.site import SiteState

PAGE = DocPage("adding-a-method")
HOOKS = PAGE.table("hook")


@pytest.mark.slow
def test_the_file_and_the_commands(tmp_path: Path) -> None:
    """As a newcomer types them: the method is listed, checked, run beside another, run with its option, and ranked."""
    (tmp_path / "proximal.py").write_text(PAGE.block("python"))
    printed = run(tmp_path, PAGE.commands())
    assert re.search(r"^  proximal +A proximal method: FedAvg with a pull", printed, re.MULTILINE)
    assert "broken" not in printed
    runs = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "results" / "runs").iterdir())
    assert runs == ["fedavg-variable-s0", "proximal-variable-s0", "proximal-variable-s0"]
    board = printed[printed.rindex("keeps local what is local") :]
    assert "fedavg" in board
    assert "mu=0.1" in board


def test_the_package(tmp_path: Path) -> None:
    assert PAGE.install(tmp_path, "fedsynth.methods") == "proximal = my_package.proximal:Proximal"
    printed = run(tmp_path, "fedsynth list methods")
    assert re.search(r"^  proximal .*\[my_package 1\.0 \(my_package\.proximal:Proximal\)\]$", printed, re.MULTILINE)


def test_every_hook_is_in_the_table_with_its_arguments() -> None:
    listed = {cells[0].strip("`") for cells in HOOKS}
    hooks = {
        f"{name}({', '.join(list(inspect.signature(member).parameters)[1:])})"
        for name, member in vars(Method).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
    assert listed == hooks


@pytest.mark.parametrize("hook", [cells[0] for cells in HOOKS])
def test_the_examples_of_a_hook_override_it(hook: str) -> None:
    name = hook.strip("`").partition("(")[0]
    (cells,) = (cells for cells in HOOKS if cells[0] == hook)
    named = set(re.findall(r"`(\w+)`", cells[2]))
    assert named <= {method for method, entry in METHODS.entries().items() if name in vars(entry.cls)}


def test_the_tools_and_places_that_it_names_exist() -> None:
    (site,) = re.findall(r"`site` offers(.*?); `server`", PAGE.text, re.DOTALL)
    (server,) = re.findall(r"`server` offers(.*?)\.\n", PAGE.text, re.DOTALL)
    for names, owner in ((site, SiteState), (server, Server)):
        assert [name for name in re.findall(r"`(\w+)`", names) if not hasattr(owner, name)] == []
    assert set(re.findall(r"place\.(\w+)", PAGE.text)) <= {*dir(Place), *Place.__dataclass_fields__}
