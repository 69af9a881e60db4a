"""The pages on adding a method, a network, a metric and an optimiser do what they say: their files and packages work."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import finished
from support.docs import DocPage, run

from fedsynth import ImageMetric
from fedsynth.benchmarks.records.record import read_scores, write_record
from fedsynth.benchmarks.records.store import State, Store
from fedsynth.evaluation.scores import scores
from fedsynth.exchange import Place
from fedsynth.method import Method
from fedsynth.networks import blocks
from fedsynth.networks.network import Network, Role
from fedsynth.registry import METHODS, OPTIMIZERS, SCHEDULES
from fedsynth.server import Server
from fedsynth.site import SiteState

METHOD, NETWORK = DocPage("adding-a-method"), DocPage("adding-a-network")
METRIC, OPTIMIZER = DocPage("adding-a-metric"), DocPage("adding-an-optimizer")


@pytest.mark.parametrize(
    ("page", "kind", "entry_point"),
    [
        (METHOD, "methods", "proximal = my_package.proximal:Proximal"),
        (NETWORK, "networks", "dncnn = my_package.dncnn:DnCNN"),
        (OPTIMIZER, "optimizers", "rmsprop = my_package.recipe:RMSprop"),
    ],
    ids=["method", "network", "optimizer"],
)
def test_the_package_of_a_page_is_found(page: DocPage, kind: str, entry_point: str, tmp_path: Path) -> None:
    assert page.install(tmp_path, f"fedsynth.{kind}") == entry_point
    printed = run(tmp_path, f"fedsynth list {kind}")
    name, _, target = entry_point.partition(" = ")
    assert re.search(rf"^  {name} .*\[my_package 1\.0 \({re.escape(target)}\)\]$", printed, re.MULTILINE)


# A method


HOOKS = METHOD.table("hook")


@pytest.mark.slow
def test_the_file_and_the_commands_of_a_method(tmp_path: Path) -> None:
    """As a newcomer types them: the method is listed, checked, run beside another, run with its option, and ranked."""
    (tmp_path / "proximal.py").write_text(METHOD.block("python"))
    printed = run(tmp_path, METHOD.commands())
    assert re.search(r"^  proximal +A proximal method: FedAvg with a pull", printed, re.MULTILINE)
    assert "broken" not in printed
    runs = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "results" / "runs").iterdir())
    assert runs == ["fedavg-variable-s0", "proximal-variable-s0", "proximal-variable-s0"]
    board = printed[printed.rindex("keeps local what is local") :]
    assert "fedavg" in board
    assert "mu=0.1" in board


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


def test_the_tools_and_places_that_the_page_names_exist() -> None:
    (site,) = re.findall(r"`site` offers(.*?); `server`", METHOD.text, re.DOTALL)
    (server,) = re.findall(r"`server` offers(.*?)\.\n", METHOD.text, re.DOTALL)
    for names, owner in ((site, SiteState), (server, Server)):
        assert [name for name in re.findall(r"`(\w+)`", names) if not hasattr(owner, name)] == []
    assert set(re.findall(r"place\.(\w+)", METHOD.text)) <= {*dir(Place), *Place.__dataclass_fields__}


# A network


PUBLISHED_WITH = '''"""FedAvg, published with DnCNN."""

from dataclasses import dataclass
from typing import ClassVar

from fedsynth.method import Method


@dataclass
class Yours(Method):
    """FedAvg."""

    published: ClassVar[str] = "dncnn"
'''


def names(column: list[list[str]]) -> set[str]:
    """The words in backticks in the first cells of a table."""
    return {name for cells in column for name in re.findall(r"`(\w+)", cells[0])}


@pytest.mark.slow
def test_the_file_and_the_commands_of_a_network(tmp_path: Path) -> None:
    """As a newcomer types them: the network is listed with its options, run, varied and ranked."""
    (tmp_path / "dncnn.py").write_text(NETWORK.block("python"))
    printed = run(tmp_path, NETWORK.commands())
    assert re.search(r"^  dncnn +DnCNN \(Zhang et al., IEEE TIP 2017\): a chain .*dncnn\.py\]$", printed, re.MULTILINE)
    assert "  network.layers=15  (int)\n      between the first convolution and the last\n" in printed
    assert len(list((tmp_path / "results" / "runs").iterdir())) == 3
    for row in ("fedmri +dncnn condition=site_task", "fedmri +dncnn", "fedavg +dncnn layers=15"):
        assert re.search(rf"^{row} +\d", printed, re.MULTILINE), printed


@pytest.mark.slow
def test_check_tries_a_method_on_the_network_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "dncnn.py").write_text(NETWORK.block("python"))
    (tmp_path / "yours.py").write_text(PUBLISHED_WITH)
    printed = run(tmp_path, "fedsynth check yours", FEDSYNTH_PLUGINS="dncnn.py:yours.py")
    assert "ok" in printed
    assert "broken" not in printed


def test_every_role_attribute_and_option_is_listed() -> None:
    assert names(NETWORK.table("role")) == {role.name for role in Role}
    public = {name for name in vars(Network) if not name.startswith("_")}
    options = {option.name for option in fields(Network)}
    assert names(NETWORK.table("option")) == options
    assert names(NETWORK.table("attribute")) == public - options


def test_the_blocks_that_the_page_names_exist() -> None:
    rules = NETWORK.text[NETWORK.text.index("## Rules") :]
    named = re.findall(r"`([A-Z]\w+|\w+_\w+)(?=[`(])", rules)
    assert named == ["Dropout", "ReflectionPad", "check_size"]
    assert all(hasattr(blocks, name) for name in named)


# A metric


def finish(store: Store, method: str, seed: int, ncc: float) -> None:
    """A finished run that was scored by the page's metric too; all runs have the same PSNR."""
    what = finished.identity(method={"name": method}, seed=seed)
    record = finished.record(what)
    rows: list[dict[str, Any]] = [row | {"ncc": ncc, "ncc_fg": ncc / 2} for row in finished.scores(what)]
    store.folder(record.run).mkdir(parents=True)
    write_record(store.folder(record.run), record, rows, finished.curve(what))


@pytest.mark.slow
def test_the_file_and_the_commands_of_a_metric(tmp_path: Path) -> None:
    (tmp_path / "ncc.py").write_text(METRIC.block("python"))
    printed = run(tmp_path, METRIC.commands())
    assert re.search(r"^  ncc +Normalised cross-correlation: .*ncc\.py\]$", printed, re.MULTILINE)
    assert "  higher is better, from -1 to 1\n  columns: ncc, ncc_fg\n" in printed
    assert "NCC in the foreground" in printed
    store = Store(tmp_path / "results")
    rows = [row for name in store.names() for row in read_scores(store.folder(name))]
    assert len(store.names()) == 2
    assert all(-1 <= row[column] <= 1 for row in rows for column in ("ncc", "ncc_fg"))


@pytest.mark.slow
def test_the_package_of_a_metric_orders_a_table(tmp_path: Path) -> None:
    assert METRIC.install(tmp_path, "fedsynth.metrics") == "ncc = my_package.ncc:Correlation"
    store = Store(tmp_path / "results")
    for seed in (0, 1):
        for method, ncc in (("fedavg", 0.5), ("local", 0.25), ("fedbn", 0.75)):
            finish(store, method, seed, ncc)
    printed = run(tmp_path, "fedsynth list metrics\nfedsynth leaderboard --metric ncc_fg")
    assert re.search(r"^  ncc .*\[my_package 1\.0 \(my_package\.ncc:Correlation\)\]$", printed, re.MULTILINE)
    rows = (tmp_path / "results/leaderboard/leaderboard.csv").read_text().splitlines()
    heads, *cells = [row.split(",") for row in rows]
    shown = {row[heads.index("method")]: row[heads.index("NCC in the foreground")] for row in cells}
    ordered = {name: score for name, score in shown.items() if score}  # lines of reference were not scored by it
    assert list(ordered) == ["fedbn", "fedavg", "local"]
    assert list(map(float, ordered.values())) == [0.375, 0.25, 0.125]


def test_the_metric_is_the_correlation_of_numpy() -> None:
    space: dict[str, Any] = {}
    exec(METRIC.block("python"), space)  # the page's own file
    metric: ImageMetric = space["Correlation"]()
    noise = torch.rand(2, 2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = noise[0, :, 0] > 0
    mask[1] = False
    found = scores(noise[0], noise[1], mask, metrics={"ncc": metric})
    assert list(found) == ["ncc", "ncc_fg"]
    for number in range(2):
        x, y = ((noise[side, number, 0].double().numpy() + 1) / 2 for side in (0, 1))
        assert found["ncc"][number].item() == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1], abs=1e-6)
    inside = mask[0].numpy()
    x, y = (noise[side, 0, 0].double().numpy()[inside] for side in (0, 1))
    assert found["ncc_fg"][0].item() == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)
    assert found["ncc_fg"][1].isnan()  # a slice without foreground
    flat = scores(noise[0], torch.zeros_like(noise[0]), metrics={"ncc": metric})
    assert flat["ncc"].isnan().all()


def test_every_attribute_of_a_metric_is_on_the_page() -> None:
    told = {cells[0].strip("`") for cells in METRIC.table("attribute")}
    assert told == set(ImageMetric.__annotations__)


# An optimiser and a schedule


@pytest.mark.slow
def test_the_file_and_the_commands_of_an_optimizer(tmp_path: Path) -> None:
    (tmp_path / "recipe.py").write_text(OPTIMIZER.block("python"))
    printed = run(tmp_path, OPTIMIZER.commands())
    assert len(re.findall(r"^  recipe +What the released code of FedMRI .*recipe\.py\]$", printed, re.MULTILINE)) == 2
    assert "  optimizer.alpha=0.99  (float)\n      the rate of decay of the mean square of the gradients\n" in printed
    assert "  schedule.every=40  (int)\n      rounds\n" in printed
    (name,) = Store(tmp_path / "results").names()
    what = Store(tmp_path / "results").identity(name)
    assert (what["optimizer"], what["schedule"]) == ({"name": "recipe", "alpha": 0.99}, {"name": "recipe", "every": 2})
    assert Store(tmp_path / "results").status(name).state in (State.done, State.diverged)  # two rounds are few


def test_every_built_in_choice_is_on_the_page() -> None:
    listed = {cells[0].strip("`") for cells in OPTIMIZER.table("choice")}
    registered = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
    assert listed == {f"{group}={name}" for group, registry in registered.items() for name in registry.entries()}
