"""`fedsynth compare`: which rows a name means, and what several tables show together."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pairs import WIGGLE, pair, put, said
from support.source import ROOT

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.stats.bayes import signed_rank


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def several(store: Store) -> None:
    """`prox` with two values of mu and on two networks, `b` on one, in one table."""
    for seed, mu in [(seed, mu) for seed in range(2) for mu in (0.1, 1.0)]:
        changed = {"method": {"mu": mu} if mu == 1.0 else {}, "network": {}}
        put(store, "prox", seed, mu, options={"mu": mu}, changed=changed)
        put(store, "prox", seed, mu + 2, options={"mu": mu}, changed=changed, network={"name": "unet", "width": 32})
        put(store, "b", seed, None)


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("prox mu=0.1/resnet", "20.85"),
        ("prox mu=1.0/resnet", "21.75"),
        ("prox mu=1.0/unet", "23.75"),
        ("prox mu=1.0/unet width=32", "23.75"),
        ("prox lr=0.0002 mu=0.1/unet", "22.85"),
        ("prox @aaaa mu=0.1/unet @bbbb", "22.85"),
    ],
)
def test_names_with_options(store: Store, capsys: pytest.CaptureFixture[str], name: str, score: str) -> None:
    several(store)
    assert f"PSNR {score} 20.75 " in said(store, capsys, name, "b")[0]


@pytest.mark.parametrize(
    ("name", "row"),
    [("prox", "prox mu=0.1/resnet"), ("prox/unet", "prox mu=0.1/unet"), ("prox mu=1.0", "prox mu=1.0/resnet")],
)
def test_a_name_without_options_means_the_plain_row(
    store: Store, capsys: pytest.CaptureFixture[str], name: str, row: str
) -> None:
    """On the network that the other row has, too, where there are several."""
    several(store)
    assert said(store, capsys, name, "b")[0].splitlines()[2:4] == [f"A {row}", "B b/resnet"]


def test_a_name_of_several_rows_lists_them(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    several(store)
    for seed in range(2):
        put(store, "b", seed, 0.5, network={"name": "unet", "width": 32})
    for name, count in (("prox", 2), ("prox mu=0.1", 2)):
        text, error = said(store, capsys, name, "b", status=2)
        assert text == ""
        assert error.startswith(f"fedsynth: variable on phantom: {name!r} means {count} rows, 'prox mu=")
        choices = error.partition("rows, ")[2].partition("; give one of these")[0].strip("'").split("', '")
        assert len(choices) == count
        for choice in choices:
            assert said(store, capsys, choice, "b")[0].splitlines()[2] == f"A {choice}"


def test_a_name_of_several_rows_does_no_harm_where_the_other_is_not(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    several(store)
    put(store, "c", 0, 0.0, dataset={"size": 128})
    put(store, "prox", 0, 0.0, options={"mu": 0.1}, dataset={"size": 128})
    text, error = said(store, capsys, "prox", "c")
    assert text.startswith("variable on phantom, dataset.size=128\n")
    assert "not compared: variable on phantom, dataset.size=64: no finished run of c" in error


@pytest.mark.parametrize("name", ["proxy", "prox mu=3", "prox/resne", "prox mu", "", "/", "b @ffff"])
def test_an_unknown_name_lists_what_there_is(store: Store, capsys: pytest.CaptureFixture[str], name: str) -> None:
    several(store)
    _, error = said(store, capsys, name, "b", status=2)
    assert error.startswith(f"fedsynth: no row is called {name!r}; there are '")
    assert all(f"'{label}'" in error for label in ("b/resnet", "prox mu=0.1/resnet", "prox mu=1.0/unet"))
    if name == "proxy":
        assert "there are 'prox mu=" in error  # those spelt like it come first


def test_a_row_is_not_compared_with_itself(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    pair(store)
    _, error = said(store, capsys, "a", "a/resnet", status=2)
    assert "variable on phantom: 'a' and 'a/resnet' are the same row, 'a/resnet'; name two" in error


@pytest.mark.parametrize("bound", ["0", "-1", "nan", "inf", "much"])
def test_a_bound_is_above_zero(store: Store, capsys: pytest.CaptureFixture[str], bound: str) -> None:
    assert main(["compare", "a", "b", f"--bound={bound}"]) == 2
    assert "invalid value for '--bound'" in capsys.readouterr().err


def test_all_pairs_of_the_table_decide(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A pair that is clear when it is alone is not shown to differ among many; an ablation is never called better."""
    pair(store, better={"ixi": 0.9, "oasis": 0.02}, options={"mu": 0})
    alone, _ = said(store, capsys, "a", "b")
    assert "Verdict: a is better than b by 0.33 dB (0.0" in alone
    rng = np.random.default_rng(0)
    for number, seed in product(range(6), range(5)):
        put(store, f"more{number}", seed, float(rng.normal(0, 0.1)))
        put(store, "a", seed, 1.0 + WIGGLE[seed], options={"mu": 1}, changed={"method": {"mu": 1}, "network": {}})
    put(store, "a", 0, 0.0, options={"mu": 0}, dataset={"size": 256})
    many, error = said(store, capsys, "a/resnet", "b")
    single = re.search(r"; p = (\S+) for this pair alone", many)
    family = re.search(r"Among all pairs of the table's methods: interval (\S+) to (\S+); p = (\S+)\.", many)
    assert single
    assert family
    assert float(single[1]) < 0.05 < float(family[3])
    assert f"may be anything from {family[1]} to {family[2]} dB." in many
    assert "is shown to be better: the difference is +0.33 dB" in many
    assert "not compared: variable on phantom, dataset.size=256: no finished run of b" in error
    ablation, _ = said(store, capsys, "a mu=1", "b")
    assert "Verdict: exploratory, so neither a mu=1 nor b is called better: the difference is +1.02 dB" in ablation
    assert "A has left the families that are tested: ablation." in ablation


def blocks(store: Store, count: int, **more: Any) -> list[float]:
    better = [0.5 * number - 0.6 for number in range(count)]
    for number, own in enumerate(better):
        pair(store, 2, better=own, dataset={"name": f"set{number}"}, **more)
    return [own + WIGGLE[:2].mean() for own in better]


def test_across_blocks(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    differences = blocks(store, 6)
    found = signed_rank(np.array(differences), 0.2)
    text, _ = said(store, capsys, "a", "b")
    last = text.splitlines()[-1]
    assert last.startswith("Across blocks (scenario x data set): 6 here, A is ahead in 4 and behind in 2.")
    assert (
        f"better by more than 0.2 dB is {found.better:.2f}, within that bound {found.equivalent:.2f}, worse {found.worse:.2f}."
        in last
    )
    assert "give --bound" in said(store, capsys, "a", "b", "--metric", "ssim")[0].splitlines()[-1]


def test_four_blocks_say_nothing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    blocks(store, 4)
    text, _ = said(store, capsys, "a", "b")
    assert text.splitlines()[-1].endswith(": 4 here, but 5 independent ones are needed to say anything.")


def test_tables_of_one_block_are_not_independent(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    blocks(store, 5)
    pair(store, 2, dataset={"name": "set0", "size": 128})
    text, _ = said(store, capsys, "a", "b")
    assert "5 here, but 6 tables: some differ in options alone, so they are not independent; name the runs" in text
    assert "probability" not in text


def test_the_same_every_time_and_without_torch_or_a_method(store: Store) -> None:
    blocks(store, 5)
    code = (
        "import sys; from fedsynth.benchmarks.cli import main\n"
        f"assert main(['compare', 'a', 'b', '--results', {str(store.runs.parent)!r}]) == 0\n"
        "print([m for m in sys.modules if m.startswith(('torch', 'pandas', 'hydra', 'omegaconf', 'fedsynth.methods'))])"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert found[0] == found[1]
    assert found[0].splitlines()[-1] == "[]"


def test_without_a_finished_run_it_says_so(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    text, error = said(store, capsys, "a", "b", "x-*", status=1)
    assert text == ""
    assert "no finished run named x-*" in error
