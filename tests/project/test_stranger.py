"""A stranger's package with a method, a network and a data set, written as the pages say, beside a wheel, without a checkout."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from support.docs import DocPage
from support.environments import Environment, run_clean

PAGES = {
    "fedsynth.methods": DocPage("adding-a-method"),
    "fedsynth.networks": DocPage("adding-a-network"),
    "fedsynth.datasets": DocPage("adding-a-dataset"),
}

EXPERIMENT = """# @package _global_
# What does the package do?
defaults:
  - smoke
  - _self_
  - override /scenario: common
  - override /network: {network}
  - override /dataset: {dataset}
scenario:
  sites: [north, south]
network:
  layers: 2
grids:
  - method: [fedavg, {method}]
"""


def write_package(folder: Path) -> dict[str, str]:
    """A project as `pip install` takes it, with the file of each page; returns the name of each group's entry point."""
    names, declared = {}, []
    for group, page in PAGES.items():
        ((name, target),) = tomllib.loads(page.block("toml"))["project"]["entry-points"][group].items()
        package, _, module = target.partition(":")[0].partition(".")
        (folder / package).mkdir(parents=True, exist_ok=True)
        (folder / package / "__init__.py").touch()
        blocks = re.findall(r"```python\n(.*?)```", page.text, re.DOTALL)
        (source,) = (block for block in blocks if f"class {target.rpartition(':')[2]}(" in block)
        (folder / package / f"{module}.py").write_text(source)
        names[group.removeprefix("fedsynth.")] = name
        declared.append(page.block("toml"))
    project = f'[project]\nname = "my-package"\nversion = "1.0"\n\n{"".join(declared)}\n'
    build = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    (folder / "pyproject.toml").write_text(f'{project}\n{build}\n[tool.setuptools]\npackages = ["{package}"]\n')
    return names


@pytest.mark.slow
def test_it_is_listed_checked_trained_swept_and_ranked(wheel: Path, environment: Environment, tmp_path: Path) -> None:
    names = write_package(tmp_path / "package")
    environment.install(str(wheel), str(tmp_path / "package"))
    work = tmp_path / "work"
    (work / "conf" / "experiment").mkdir(parents=True)
    (work / "make_scans.py").write_text(PAGES["fedsynth.datasets"].files["make_scans.py"])
    run_clean(environment.scripts / "python", "make_scans.py", cwd=work)
    one = {kind.removesuffix("s"): name for kind, name in names.items()}
    (work / "conf" / "experiment" / "mine.yaml").write_text(EXPERIMENT.format(**one))

    def fedsynth(*words: str) -> str:
        return run_clean(environment.scripts / "fedsynth", *words, cwd=work)

    for kind, name in names.items():
        assert re.search(rf"^  {name} .*my_package", fedsynth("list", kind), re.MULTILINE)
    assert re.search(r"^  mine ", fedsynth("list", "experiments"), re.MULTILINE)
    assert "broken" not in fedsynth("check", names["methods"])
    fedsynth("run", f"method={names['methods']}", "experiment=mine", "seed=1")
    fedsynth("sweep", "experiment=mine")
    status = fedsynth("status")
    runs = re.findall(r"^(\S+)-common-(s\d)-\S+ +done$", status, re.MULTILINE)
    assert sorted(runs) == sorted([(names["methods"], "s1"), ("fedavg", "s0"), (names["methods"], "s0")])
    assert f"common on {names['datasets']}" in fedsynth("leaderboard")
    board = (work / "results" / "leaderboard" / "leaderboard.csv").read_text()
    for method in ("fedavg", names["methods"]):
        assert re.search(f",selected,{method},{names['networks']},", board)
    fedsynth("report")
    assert (work / "results" / "report" / "index.html").stat().st_size > 10_000
