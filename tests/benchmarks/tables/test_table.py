"""Tables against numbers worked by hand: averages, ranks, holes, divergence, and which runs may share one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import finished

from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.lifting import lifted
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.tables.table import Table, tables
from fedsynth.benchmarks.tables.views.columns import columns
from fedsynth.benchmarks.tables.views.communication_cost import communication_costs

IXI, OASIS, FLAIR = ("ixi", "T1->T2"), ("oasis", "T1->T2"), ("oasis", "T2->FLAIR")
CHANGED = {"method": {"mu": 1}, "network": {}}


def made(store: Store, selection: str = "selected") -> list[Table]:
    return tables(finished_runs(store), selection)


def only(store: Store, selection: str = "selected") -> Table:
    (table,) = made(store, selection)
    return table


def named(name: str, **more: Any) -> dict[str, Any]:
    return finished.identity(method={"name": name}, **more)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_means_over_subjects_then_site_tasks_then_seeds(store: Store) -> None:
    # Means of subjects 20, 32 and 23, then 22, 30 and 29; of site-tasks 25 and 27. Averaging over all subjects at once
    # (24.29 and 26.29) or over sites (23.75 and 25.75) would give something else.
    finished.finish(store, named("a"), {IXI: [10, 20, 30], OASIS: [30, 34], FLAIR: [22, 24]})
    finished.finish(store, named("a", seed=1), {IXI: [22, 21, 23], OASIS: [29, 31], FLAIR: [28, 30]})
    table = only(store)
    (row,) = table.rows
    assert table.seeds == row.seeds == (0, 1)
    assert row.psnr is not None
    assert row.ssim is not None
    assert row.psnr.mean == 26
    assert row.psnr.sd == pytest.approx(2**0.5)
    assert row.psnr.site_tasks == {IXI: 21, OASIS: 31, FLAIR: 26}
    assert row.ssim.mean == pytest.approx(
        26
    )  # the runs' SSIM is a hundredth of their PSNR, and SSIM is shown in hundredths
    last = only(store, "last").rows[0]  # of these runs 1 dB less
    assert last.psnr is not None
    assert (last.psnr.mean, last.psnr.site_tasks[FLAIR]) == (25, 25)


def test_one_seed_has_no_spread(store: Store) -> None:
    finished.finish(store, named("a"))
    assert (score := only(store).rows[0].psnr) is not None
    assert score.sd is None


def test_costs_are_means_over_seeds_and_bytes_also_over_sites_and_rounds(store: Store) -> None:
    whole = finished.curve(named("a"), up=2e6, down=4e6)
    finished.finish(store, named("a"), rows=whole, costs={"seconds": 10, "parameters": 3e6})
    finished.finish(store, named("a", seed=1), rows=finished.curve(named("a"), 5e6, 1e6)[:2], costs={"seconds": 30})
    (row,) = only(store).rows
    assert (row.bytes_up, row.bytes_down) == (3e6, 3e6)  # four rows of 2 and 4 MB, two of 5 and 1 MB
    assert (row.cost("seconds"), row.cost("parameters")) == (20, 1_500_000.5)


def test_what_trains_in_one_place_sends_its_images(store: Store) -> None:
    whole = [
        row | {"site": "ixi+oasis"} for row in finished.curve(named("pooled"), up=0, down=0) if row["site"] == "ixi"
    ]
    group, none = {"ixi+oasis": "0", "server": "0"}, {"bytes_up": 0, "bytes_down": 0}
    for seed in (0, 1):
        finished.finish(store, named("pooled", seed=seed), rows=whole, digest=group, costs=none)
        finished.finish(store, named("fedavg", seed=seed), 19)
    table = only(store)
    row, other = table.rows
    # ixi has T1 and T2, oasis FLAIR too, and each 80 + 40 slices of 64 x 64 pixels to train and to validate on
    sent = 120 * (2 + 3) * 64 * 64 * 2
    assert (row.method, row.cost("bytes_up"), row.cost("bytes_down")) == ("pooled", sent, 0)
    assert row.bytes_up == sent / 2 / 100  # of two sites and 100 rounds
    assert [curve.traffic.tolist() for curve in row.curves] == [[sent, sent]] * 2
    assert any(note.startswith("pooled on resnet trains in one place: its MB are those of the") for note in table.notes)
    assert (other.bytes_up, other.cost("bytes_up")) == (2e6, 1)
    assert not any("fedavg on resnet trains" in note for note in table.notes)
    assert [own.psnr for own in communication_costs(table)] == [20, 20]  # within the bytes of fedavg


def test_seconds_a_round_are_the_median_and_a_stalled_run_is_named(store: Store) -> None:
    for seed, seconds in enumerate((100, 120, 110, 9000, 90)):
        finished.finish(store, named("a", seed=seed), costs={"seconds": seconds})
        finished.finish(store, named("b", seed=seed), costs={"seconds": 100 + 90 * seed})  # others shared the machine
    table = only(store)
    first, second = sorted(table.rows, key=lambda row: row.method)
    assert (first.seconds_a_round, second.seconds_a_round) == (1.1, 2.8)
    assert (first.stalled, second.stalled) == ({3: 90}, {})
    (note,) = [note for note in table.notes if "stalled" in note]
    assert note == "a on resnet: seed 3 stalled; it took 90 seconds a round, and the median of the row is 1.1."
    (column,) = [column for column in columns(table) if column.name == "seconds a round"]
    assert sorted(column.cells) == ["1.10", "2.80"]


def test_rows_follow_their_means(store: Store) -> None:
    for name, psnr in {"a": 21.001, "b": 22, "c": 20.999, "d": 20.99}.items():
        finished.finish(store, named(name), psnr)
    assert [row.method for row in only(store).rows] == ["b", "a", "c", "d"]


def test_a_hole_has_neither_average_nor_rank(store: Store) -> None:
    for seed in (0, 1, 2):
        finished.finish(store, named("a", seed=seed), 20)
        if seed != 1:
            finished.finish(store, named("b", seed=seed), 30)
    table = only(store)
    first, second = table.rows
    assert (first.method, first.missing) == ("a", ())
    assert (second.method, second.psnr, second.ssim, second.missing) == ("b", None, None, (1,))
    assert second.flags == ("1 of 3 seeds missing",)
    assert (
        "b on resnet has 2 of 3 seeds and therefore neither average nor rank; there is no finished run of seed 1."
        in table.notes
    )


def test_diverged_rows_come_after_the_others_with_their_scores(store: Store) -> None:
    for seed in (0, 1):
        finished.finish(store, named("a", seed=seed), 30, status="diverged" if seed else "done")
        finished.finish(store, named("b", seed=seed), 10)
        finished.finish(store, named("c", seed=seed), 40, status="diverged")
        finished.finish(store, named("d", seed=seed), 12, status="diverged")
    finished.finish(store, named("e"), 50)
    table = only(store)
    found = [(row.method, row.diverged, row.psnr and row.psnr.mean) for row in table.rows]
    assert found == [("b", 0, 10), ("a", 1, 30), ("c", 2, 40), ("d", 2, 12), ("e", 0, None)]
    assert "1 of 2 diverged" in table.rows[1].flags
    (note,) = [note for note in table.notes if note.startswith("a on resnet: 1 of 2 seeds diverged")]
    assert "Its +- and its p do not hold" in note


def test_rows_below_the_floor_keep_their_place_and_are_marked(store: Store) -> None:
    assert "below floor" not in [column.name for column in columns(only_with(store, below=()))]
    table = only_with(store, below=(1,))
    assert [(row.method, row.below_floor, row.diverged) for row in table.rows] == [("a", 1, 0), ("b", 0, 0)]
    assert [row.flags for row in table.rows] == [("1 of 2 below copied source",), ("below look-up table",)]
    (marked,) = [column for column in columns(table) if column.name == "below floor"]
    assert marked.cells == ["1", "0"]
    assert any(
        note.startswith(
            "a on resnet: 1 of 2 seeds ended below the floor: the validation PSNR of the last round is below"
        )
        for note in table.notes
    )


def test_rounds_with_too_few_uploads_for_the_server_rule_are_told(store: Store) -> None:
    for seed, few in enumerate((10, 50)):
        for rule in ("median", "krum"):
            what = named("a", seed=seed, trainer={"server_rule": rule})
            finished.finish(store, what, 30, costs={"rounds_with_too_few": float(few * (rule == "krum"))})
    assert [note for note in only(store).notes if "too few uploads" in note] == [
        "a server_rule=krum on resnet: in 60 of 200 rounds too few uploads arrived for trainer.server_rule=krum: there the "
        "server kept a model."
    ]


def only_with(store: Store, below: Sequence[int]) -> Table:
    """Two rows with two seeds; the seeds `below` of the first ended below the floor."""
    for seed in (0, 1):
        finished.finish(store, named("a", seed=seed), 30, below_floor=seed in below)
        finished.finish(store, named("b", seed=seed), 10)
    return only(store)


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": {"size": 128}},
        {"data": "d1"},
        {"trainer": {"rounds": 200}},
        {"trainer": {"batch": 2}},
        {"scenario": {"fail": 0.2}},
        {"scenario": {"name": "common"}},
        {"scenario": {"sites": ["ixi"], "tasks": {"ixi": ["T1->T2"]}}},
        {"scenario": {"tasks": {"ixi": ["T1->PD"], "oasis": ["T1->T2"]}}},
        {"code": {"dataset": "cccc11111111"}},
    ],
    ids=str,
)
def test_runs_of_another_job_have_another_table(store: Store, other: dict[str, Any]) -> None:
    finished.finish(store, named("a"))
    finished.finish(store, named("b", **other))
    titles = [table.title for table in made(store)]
    assert len(set(titles)) == 2
    assert [len(table.rows) for table in made(store)] == [1, 1]


def test_seeds_that_draw_their_cohorts_share_a_table(store: Store) -> None:
    for seed in (0, 1):
        for method in ("a", "b"):
            finished.finish(store, named(method, seed=seed, scenario={"cohort": seed}), 20 + seed)
    table = only(store)
    assert (len(table.rows), table.seeds) == (2, (0, 1))
    drawn = "Seeds: 0, 1. A seed draws the training and validation subjects, the start and the order; the test subjects are the"
    assert any(line.startswith(drawn) for line in table.facts)
    for seed in (0, 1):
        finished.finish(store, named("a", seed=seed), 30)  # with the data set's own subjects in both
    assert {table.title: (len(table.rows), table.seeds) for table in made(store)} == {
        "variable on phantom, scenario.cohort=null": (1, (0, 1)),
        "variable on phantom, scenario.cohort=seed": (2, (0, 1)),
    }
    finished.finish(store, named("a", seed=2, scenario={"cohort": 5}))  # neither
    assert len(made(store)) == 3


def test_a_table_is_held_together_by_its_test_set(store: Store) -> None:
    def run(method: str, seed: int, data: str, test: str = "t0") -> None:
        finished.finish(store, named(method, seed=seed, data=data) | {"test": {"ixi": test, "oasis": test}})

    for seed, data in ((0, "d0"), (1, "d1")):  # training data belong to the seed
        for method in ("a", "b"):
            run(method, seed, data)
    assert [(len(table.rows), table.seeds) for table in made(store)] == [(2, (0, 1))]
    run("a", 0, "d2", "t1")
    assert sorted(len(table.rows) for table in made(store)) == [1, 2]
    run("a", 1, "d3")  # another training set of the same seed: no table has both
    found = made(store)
    assert sorted((len(table.rows), table.seeds) for table in found) == [(1, (0,)), (1, (1,)), (2, (0,)), (2, (1,))]
    assert len({table.title for table in found}) == 4


def test_a_learning_rate_of_ones_own_is_a_row_of_the_same_table(store: Store) -> None:
    finished.finish(store, named("a"), 20)
    finished.finish(store, named("a", trainer={"lr": 1e-3}), 21)
    table = only(store)
    assert [row.method for row in table.rows] == ["a lr=0.001", "a lr=0.0002"]
    assert not any(" lr=" in line for line in table.facts)


@pytest.mark.parametrize("other", [{"device": "cuda"}, {"threads": 4}, {"checkpoint_every": 5}], ids=str)
def test_where_a_run_was_made_does_not_matter(store: Store, other: dict[str, Any]) -> None:
    finished.finish(store, named("a"), 20)
    finished.finish(store, named("a", seed=1, trainer=other), 22)
    assert [row.seeds for row in only(store).rows] == [(0, 1)]


def test_runs_of_one_row_and_seed_that_agree_count_once(store: Store) -> None:
    for device, hour in (("cuda", 4), ("cpu", 5), ("auto", 3)):
        finished.finish(store, named("a", trainer={"device": device}), finished=f"2026-01-01T0{hour}:00:00+00:00")
    row = only(store).rows[0]
    assert (row.seeds, row.missing, row.psnr and row.psnr.mean) == ((0,), (), 20)


def test_what_was_asked_for_on_other_hardware_and_differs_has_a_table_of_its_own(store: Store) -> None:
    for psnr, device in ((30, "cuda"), (20, "cpu")):
        for seed in (0, 1):
            finished.finish(store, named("a", trainer={"device": device}, seed=seed), psnr)
        finished.finish(store, named("b", trainer={"device": device}), 25)
    found = {table.title.partition(", ")[2]: table for table in made(store)}
    assert sorted(found) == ["trainer.device=cpu", "trainer.device=cuda"]
    for device, psnr in (("cpu", 20), ("cuda", 30)):
        row = next(row for row in found[f"trainer.device={device}"].rows if row.method == "a")
        assert row.psnr is not None
        assert (row.seeds, row.psnr.mean) == ((0, 1), psnr)


def test_of_two_records_that_differ_in_nothing_but_scores_none_counts(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """They lie under two names, as one was written by an older version; a later date chooses neither."""
    older = named("a")
    names = [
        finished.finish(store, older, 20),
        finished.finish(store, lifted(older), 40, finished="2026-02-01T00:00:00+00:00"),
    ]
    assert made(store) == []
    told = f"{' and '.join(sorted(names))} are of one row and seed, and their scores differ, so none counts; remove what is"
    assert told in capsys.readouterr().err
    finished.finish(store, named("a", seed=1), 22)
    finished.finish(store, named("b"), 10)
    table = only(store)
    rows = {row.method: row for row in table.rows}
    assert (rows["a"].seeds, rows["a"].missing, rows["a"].psnr) == ((1,), (0,), None)
    assert any(note.startswith(told) for note in table.notes)
    assert any("there is no finished run whose records agree of seed 0" in note for note in table.notes)


def test_a_table_says_where_its_rows_mix_hardware(store: Store) -> None:
    def on(device: str) -> dict[str, Any]:
        return finished.record(named("a")).environment | {"device": device, "execution": "eager"}

    finished.finish(store, named("a"), environment=on("cpu (any)"))
    finished.finish(store, named("b"), environment=on("cpu (any)"))
    assert not any("Hardware" in note for note in only(store).notes)
    finished.finish(store, named("c", trainer={"device": "auto"}), environment=on("cuda (H200)"))
    assert (
        "Hardware is mixed, which changes how numbers are rounded: c/resnet by cuda (H200), eager, 1 thread; all others by cpu "
        "(any), eager, 1 thread."
    ) in only(store).notes
    finished.finish(store, named("a", seed=1), environment=on("cpu (any), cuda (H200)"))
    (note,) = [note for note in only(store).notes if "Hardware" in note]
    assert "a/resnet by cpu (any) then cuda (H200), eager, 1 thread and cpu (any), eager, 1 thread" in note


def test_titles_name_what_differs(store: Store) -> None:
    for rounds, sites in ((100, ["ixi", "oasis"]), (200, ["ixi", "oasis"]), (200, ["ixi"])):
        scenario = {"sites": sites, "tasks": {site: finished.TASKS[site] for site in sites}}
        finished.finish(store, named("a", trainer={"rounds": rounds}, scenario=scenario))
    finished.finish(store, named("a", scenario={"name": "common"}))
    assert [table.title for table in made(store)] == [
        "common on phantom",
        "variable on phantom, scenario.sites=[ixi,oasis], trainer.rounds=100",
        "variable on phantom, scenario.sites=[ixi,oasis], trainer.rounds=200",
        "variable on phantom, scenario.sites=[ixi], trainer.rounds=200",
    ]


def test_rows_that_differ_in_code_alone_carry_its_first_digits(store: Store) -> None:
    finished.finish(store, named("a"), 30)
    finished.finish(store, named("a", code={"method": "abcd11111111"}), 20)
    finished.finish(store, named("b", code={"network": "dcba11111111"}), 10)
    assert [(row.method, row.network) for row in only(store).rows] == [
        ("a @aaaa", "resnet @bbbb"),
        ("a @abcd", "resnet @bbbb"),
        ("b", "resnet @dcba"),
    ]


def test_options_that_differ_name_the_row_and_shared_ones_the_caption(store: Store) -> None:
    def run(psnr: float, method: dict[str, Any], network: dict[str, Any], mu: bool = True) -> None:
        changed = {"method": {"mu": method["mu"]} if mu and "mu" in method else {}, "network": dict(network)}
        del changed["network"]["name"]
        finished.finish(store, finished.identity(method, network), psnr, changed=changed)

    small = {"width": 8, "blocks": 3}
    run(24, {"name": "fedprox", "mu": 0.01}, {"name": "resnet", **small}, mu=False)  # 0.01 is the default
    run(23, {"name": "fedprox", "mu": 0.1}, {"name": "resnet", **small})
    run(22, {"name": "ditto", "mu": 0.5}, {"name": "personalised", **small, "init": "scaled"})
    run(21, {"name": "local"}, {"name": "unet", "width": 8})
    table = only(store)
    assert [(row.method, row.network) for row in table.rows] == [
        ("fedprox mu=0.01", "resnet"),
        ("fedprox mu=0.1", "resnet"),
        ("ditto mu=0.5", "personalised init=scaled"),
        ("local", "unet"),
    ]
    assert "Networks: all with blocks=3 width=8." in table.facts


def test_what_most_rows_have_is_told_in_a_note(store: Store) -> None:
    def run(psnr: float, method: str, share: str, network: dict[str, Any], lr: float) -> None:
        parts = {"method": {"share": share}, "network": network}
        identity = finished.identity(
            {"name": method, "share": share}, {"name": "unet", "gate": True, "blocks": 9} | network, trainer={"lr": lr}
        )
        finished.finish(store, identity, psnr, changed=parts)

    run(24, "pflsynth", "late", {}, 1e-3)
    run(23, "pflsynth", "all", {}, 1e-3)
    run(22, "pflsynth", "late", {"gate": False}, 1e-3)
    run(21, "lgfedavg", "early", {"blocks": 3}, 2e-3)
    run(20, "lgfedavg", "late", {}, 1e-3)
    table = only(store)
    assert [(row.method, row.network) for row in table.rows] == [
        ("pflsynth", "unet"),
        ("pflsynth share=all", "unet"),
        ("pflsynth", "unet gate=false"),
        ("lgfedavg share=early lr=0.002", "unet blocks=3"),
        ("lgfedavg share=late", "unet"),  # of two no value is the usual one
    ]
    note = "Unless a row says otherwise: lr=0.001; pflsynth share=late; unet blocks=9 gate=true."
    assert note in table.notes


def test_a_network_that_all_rows_share_is_told_in_the_caption(store: Store) -> None:
    changed = {"method": {}, "network": {"width": 8}}
    for name in ("a", "b"):
        finished.finish(store, named(name, network={"width": 8}), changed=changed)
    table = only(store)
    assert {row.network for row in table.rows} == {"resnet"}
    assert "Networks: resnet width=8." in table.facts


def test_the_caption_says_what_the_numbers_are(store: Store) -> None:
    finished.finish(store, named("a", seed=3))
    finished.finish(store, named("b", seed=3), policy="buffers local")
    text = "\n".join((*only(store).caption, *only(store).facts))
    for part in (
        "the round with the best validation PSNR",
        "the mean over subjects, then site-tasks, then 1 seed.",
        "ixi T1->T2 (10 train, 5 val, 20 test subjects); oasis T1->T2, T2->FLAIR (10 train",
        "Seeds: 3. A seed draws the start and the order; all seeds have the same training, validation and test subjects.",
        "Data: phantom size=64.",
        "batch=1 common_start=true corrupt=0.0 local_epochs=1.0 local_steps=100 lr=0.0002 optimizer=adam "
        "optimizer.betas=[0.5,0.999] participation=1.0 rounds=100 schedule=linear server_rule=mean; device cpu.",
        "Networks: resnet.",
    ):
        assert part in text
    assert "Running statistics" not in text  # rows differ in it: it is a column
    assert "Scores of the last round" in "\n".join(only(store, "last").caption)


@pytest.mark.parametrize(("steps", "smoke"), [(99, True), (100, False)])
def test_a_smoke_run_is_called_so(store: Store, steps: int, smoke: bool) -> None:
    finished.finish(store, named("a", trainer={"rounds": 1, "local_steps": steps}))
    table = only(store)
    assert table.smoke is smoke
    assert table.title == "variable on phantom" + ": smoke run" * smoke


def test_the_caption_says_what_the_runs_were_made_with(store: Store) -> None:
    environment = {
        "commit": "c" * 40,
        "dirty": True,
        "device": "cpu (any)",
        "versions": {"numpy": "1.26.0", "torch": "2.1"},
    }
    finished.finish(store, named("a"), environment=environment, finished="2026-01-03T00:00:00+00:00")
    newer = environment | {"commit": "d" * 40, "dirty": False, "versions": {"numpy": "2.0.0", "torch": "2.1"}}
    finished.finish(store, named("b"), environment=newer, finished="2026-01-05T00:00:00+00:00")
    text = "\n".join((*only(store).caption, *only(store).facts))
    assert "The data are simulated: the numbers are not evidence of clinical performance." in text
    assert (
        "Records: 2, finished 2026-01-03 to 2026-01-05; hardware cpu (any); commit cccccccccc with changes, dddddddddd; "
        "numpy 1.26.0/2.0.0, torch 2.1." in text
    )


def test_a_table_says_how_its_options_were_tuned(store: Store) -> None:
    how = {
        "file": "core",
        "options": [],
        "trials": 5,
        "seed": 100,
        "rounds": 50,
        "local_steps": 5000,
        "scenario": "common",
    }
    how |= {"cohort": None, "data": {"ixi": "d0", "oasis": "d0"}}

    def told(**tuning: dict[str, Any]) -> str:
        for method, own in tuning.items():
            finished.finish(store, named(method), tuning=own)
        (line,) = [line for line in only(store).facts if line.startswith("Tuning: ")]
        return line

    assert told(a={}) == "Tuning: not recorded."
    half = "5 trials a method with seed 100, 5000 of 10000 local steps (50 %), on scenario common, by validation on"
    assert told(a=how, b=how) == f"Tuning: {half} the validation subjects of this table."
    both = f"Tuning: a, b: {half} the validation subjects of this table; c: none, the options are as given; "
    assert told(c={"trials": 0}, d=how | {"cohort": 100}) == f"{both}d: {half} other subjects."


def test_data_that_are_not_simulated_are_not_called_so(store: Store) -> None:
    finished.finish(store, named("a", dataset={"name": "prepared"}))
    assert "simulated" not in "\n".join((*only(store).caption, *only(store).facts))


def test_tests_are_told_where_they_are_used(store: Store) -> None:
    for seed in range(5):
        finished.finish(store, named("a", seed=seed))
    assert "Gain" not in "\n".join(only(store).caption)
    for seed in range(5):
        finished.finish(store, named("local", seed=seed))
    text = "\n".join((*only(store).caption, *only(store).facts))
    assert "Gain: the difference in PSNR to `local` on the same network, * where" in text
    assert "(5 % for all gains over `local` and over `fedavg` together); without *: not shown to differ" in text


def test_an_option_of_each_site_is_told_once_where_sites_agree(store: Store) -> None:
    for count in (1, 2):
        finished.finish(store, named("a", scenario={"train_subjects": {"ixi": count, "oasis": count}}))
    assert [table.title for table in made(store)] == [
        "variable on phantom, scenario.train_subjects.default=1",
        "variable on phantom, scenario.train_subjects.default=2",
    ]


def test_families_exist_for_any_metric_and_rows_leave_them_for_a_reason(store: Store) -> None:
    """SSIM is a hundredth of PSNR here, so the metric changes no decision."""
    levels = {"local": 20.0, "fedavg": 22.0, "fedbn": 24.0}
    for seed in range(5):
        wiggle = 0.01 * (-1) ** seed
        for number, (method, level) in enumerate(levels.items()):
            own = level + wiggle * (number + 1)
            scores = {place: [own, own + 1 + 0.1 * number] for place in (IXI, OASIS, FLAIR)}
            finished.finish(store, finished.identity(method={"name": method, "mu": 0}, seed=seed), scores)
        what = finished.identity(method={"name": "fedbn", "mu": 1}, seed=seed)
        finished.finish(store, what, {place: [30 + seed, 31] for place in (IXI, OASIS, FLAIR)}, changed=CHANGED)
        low = {place: [15.0, 15.0] for place in (IXI, OASIS, FLAIR)}
        finished.finish(store, named("broken", seed=seed), low, status="diverged" if seed == 0 else "done")
    table = only(store)
    names = [row.identity["method"]["name"] for row in table.rows]
    reasons = {names[number]: reason for number, reason in table.left.items()}
    assert reasons == {"fedbn": "ablation", "broken": "1 of 5 seeds diverged"}
    psnr, ssim = table.statistics("psnr"), table.statistics("ssim")
    assert psnr.pairs
    assert ssim.pairs
    assert table.pairs
    assert (table.pairs.adjusted == psnr.pairs.adjusted).all()
    assert ssim.pairs.adjusted.tolist() == psnr.pairs.adjusted.tolist()
    assert ssim.pairs.difference == pytest.approx(psnr.pairs.difference)
    assert ssim.left == psnr.left
    assert table.statistics("ssim") is ssim


def test_a_metric_by_which_the_order_is_reversed_has_statistics_of_its_own(store: Store) -> None:
    for method, psnr, nmse in (("local", 20.0, 0.1), ("a", 22.0, 0.3)):
        for seed in range(5):
            what = named(method, seed=seed)
            folder = store.folder(finished.record(what).run)
            folder.mkdir(parents=True)
            rows = [row | {"nmse": nmse + 0.001 * seed} for row in finished.scores(what, psnr + 0.01 * seed)]
            finished.write_record(folder, finished.record(what), rows, finished.curve(what))
    table = only(store)
    gains = [statistics.gain for metric in ("psnr", "nmse") if (statistics := table.statistics(metric).rows[0])]
    assert [gain and (gain.comparison.difference > 0, gain.significant) for gain in gains] == [
        (True, True),
        (False, True),
    ]


def test_runs_whose_subjects_have_pseudonyms_of_two_salts_share_no_table(store: Store) -> None:
    """Nobody knows which subject of one is which of the other, so no difference of a subject could be taken."""
    for seed, salt in ((0, "salted-00000000"), (1, "salted-00000000"), (2, "salted-11111111")):
        what = finished.identity(dataset={"name": "prepared"}, seed=seed)
        data = finished.record(what).data | {"naming": {"ixi": salt, "oasis": "simulated"}}
        finished.finish(store, what, data=data)
    assert sorted(table.seeds for table in made(store)) == [(0, 1), (2,)]


def test_it_is_said_how_many_were_left_out_and_why(store: Store) -> None:
    what = finished.identity()
    data = finished.record(what).data | {"left_out": {"ixi": {"incomplete": 2, "excluded by name": 1}}}
    finished.finish(store, what, data=data)
    assert "Left out: ixi 1 excluded by name, 2 incomplete." in only(store).facts
