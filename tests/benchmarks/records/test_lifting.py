"""An option that comes later neither renames a run nor parts a table; a key that no schema knows is refused by name."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from support import finished

from fedsynth.benchmarks.config.identity import identity, named_options
from fedsynth.benchmarks.config.schema import IN_TRAINER, Run
from fedsynth.benchmarks.records import lifting
from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.lifting import FIRST, LATER, NEWEST, IdentityError, before, counted, lifted
from fedsynth.benchmarks.records.record import RecordError, read_record, run_name
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.tables.table import tables
from fedsynth.federation.scenario import Scenario
from fedsynth.method import Method
from fedsynth.networks.network import Network
from fedsynth.registry import DATASETS, METHODS, NETWORKS
from fedsynth.runtime.optimizers.optimizer import Optimizer
from fedsynth.runtime.options import TrainerOptions
from fedsynth.runtime.schedules.schedule import Schedule


def today(method: str = "fedavg", seed: int = 0, newcomers: tuple[str, ...] = (), **trainer: Any) -> dict[str, Any]:
    """The identity of a run as this version writes it."""
    scenario = Scenario("two", ["ixi", "oasis"], {"default": ["T1->T2"]}, list(newcomers))
    parts = METHODS[method](), NETWORKS["resnet"](), DATASETS["phantom"](), scenario, TrainerOptions(**trainer)
    return identity(Run(*parts, seed, "results"))


def add(monkeypatch: pytest.MonkeyPatch, part: str, option: str, value: Any) -> None:
    """The part has an option from now on, which had this value before."""
    monkeypatch.setitem(lifting.LATER, NEWEST + 1, {part: {option: value}})
    monkeypatch.setattr(lifting, "NEWEST", NEWEST + 1)


@pytest.mark.parametrize("part", ["trainer", "scenario", "method", "network", "optimizer"])
@pytest.mark.parametrize("old", [finished.identity(), today()], ids=["without a number", "of today"])
def test_a_new_option_renames_no_run_and_parts_no_table(
    old: dict[str, Any], part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    finished.finish(store, old)
    add(monkeypatch, part, "sharpen", 0.0)
    now, other = lifted(old | {"seed": 1}), lifted(old | {"seed": 1})
    now[part], other[part] = now[part] | {"sharpen": 0.0}, other[part] | {"sharpen": 0.5}
    if "schema" in old:
        assert run_name(now) == run_name(old | {"seed": 1})
    assert run_name(now) != run_name(other)
    finished.finish(store, now)
    (table,) = tables(finished_runs(store))
    assert [row.seeds for row in table.rows] == [(0, 1)]
    assert "sharpen" not in "".join(table.facts)
    finished.finish(store, other)
    assert len(tables(finished_runs(store))) + len(tables(finished_runs(store))[0].rows) > 2


def test_a_new_option_of_a_method_comes_with_its_code_so_it_is_another_row(tmp_path: Path) -> None:
    """The digest of a method's code changes by its new option: no default is needed, and old rows keep their own names."""
    store = Store(tmp_path)
    method, code = {"name": "theirs", "mu": 0.1}, {"method": "dddd00000000"}
    finished.finish(store, finished.identity(method), changed={"method": {"mu": 0.1}, "network": {}})
    newer = {"method": {"mu": 0.1, "heat": 2}, "network": {}}
    finished.finish(
        store, finished.identity(method | {"heat": 1}, code=code), 21.0, changed=newer | {"method": {"mu": 0.1}}
    )
    finished.finish(store, finished.identity(method | {"heat": 2}, code=code), 22.0, changed=newer)
    (table,) = tables(finished_runs(store))
    assert [row.method for row in table.rows] == ["theirs heat=2 mu=0.1", "theirs heat=1 mu=0.1", "theirs mu=0.1"]


def test_all_that_this_version_writes_is_known() -> None:
    """An option that is missing here needs a line in records/lifting.py: LATER, under the next number, with its default."""
    what = today(newcomers=("oasis",))
    assert lifted(what) == what
    for part, known in FIRST.items():
        assert what[part].keys() == known | before(part).keys()
    whole = counted(today()).keys() | {"schema"}
    assert today().keys() == whole


def test_options_of_the_base_classes_are_those_of_schema_2() -> None:
    """Every method, network, data set, optimiser and schedule has them, and no digest of its code covers them. A new one needs a
    line in records/lifting.py: LATER, under the next number, with its default."""
    bases = {"method": Method, "network": Network, "optimizer": Optimizer, "schedule": Schedule}
    assert {part: {f.name for f in fields(base)} - before(part).keys() for part, base in bases.items()} == {
        "method": {"adversarial", "l1"},
        "network": {
            "width",
            "norm",
            "discriminator_width",
            "discriminator_layers",
            "condition",
            "latent",
            "adain",
            "gate",
            "init",
        },
        "optimizer": set(),
        "schedule": set(),
    }


def test_an_older_identity_gets_what_came_later() -> None:
    old = finished.identity()
    now = lifted(old)
    assert (now["schema"], now["test"]) == (NEWEST, old["data"])
    assert now["trainer"].items() >= old["trainer"].items() | LATER[2]["trainer"].items()
    assert now["scenario"]["cohort"] is None
    assert lifted(old | {"trainer": old["trainer"] | {"betas": [0.5, 0.999]}})["trainer"]["betas"] == [0.5, 0.999]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"note": "ours"}, "its identity has 'note', which no schema up to 3 knows"),
        (
            {"trainer": today()["trainer"] | {"note": 1}},
            "its identity has 'trainer.note', which no schema up to 3 knows",
        ),
        (
            {"scenario": today()["scenario"] | {"zz": 1}},
            "its identity has 'scenario.zz', which no schema up to 3 knows",
        ),
        ({"code": {"note": "abcd"}}, "its identity has 'code.note', which no schema up to 3 knows"),
        ({"trainer": today()["trainer"] | {"betas": [0.5]}}, "its identity has 'trainer.betas'"),
        ({"schema": 99}, "its identity has schema 99, and this version reads 1 to 3; update FedSynth"),
        ({"schema": "2"}, "its identity has schema '2'"),
        ({"method": {"mu": 1}}, "its identity has no method.name"),
        ({"scenario": ["ixi"]}, "its identity has no options of a scenario"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_key_that_no_schema_knows_is_refused_by_name(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(IdentityError, match=reason):
        lifted(today() | changed)


def test_a_record_with_such_a_key_is_left_out_and_the_others_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealed, and under the name that it then has: as a later version writes it, or somebody who knows how."""
    store = Store(tmp_path)
    with monkeypatch.context() as patched:
        add(patched, "trainer", "sharpen", 0.0)
        theirs = finished.finish(store, lifted(today() | {"trainer": today()["trainer"] | {"sharpen": 1.0}}))
    ours = finished.finish(store, today())
    with pytest.raises(RecordError, match="schema 4, and this version reads 1 to 3"):
        read_record(store.folder(theirs))
    assert [run.record.run for run in finished_runs(store)] == [ours]
    assert theirs in capsys.readouterr().err


def test_of_a_data_set_its_numbers_and_switches_are_told_and_no_path() -> None:
    told = lifting.told_of_dataset(
        {
            "name": "theirs",
            "root": "/scans/of/jane",
            "exclude": ["jane"],
            "names": {"a": "b"},
            "size": 64,
            "first": True,
        }
    )
    assert told == {"name": "theirs", "size": 64, "first": True}
    assert lifting.told_of_dataset(named_options("dataset", DATASETS["prepared"](["/a"]))) == {"name": "prepared"}
    assert today()["dataset"] == named_options("dataset", DATASETS["phantom"]())


def test_optimiser_and_schedule_are_no_options_of_the_trainer() -> None:
    assert not today()["trainer"].keys() & {*IN_TRAINER}
