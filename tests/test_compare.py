"""`fedsynth compare`: numbers worked by hand and by scipy, names of rows, and no more said than the scores carry."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import finished
import numpy as np
import pytest
from scipy import stats

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.metric import Metric
from fedsynth.benchmarks.records import METRICS, write_record
from fedsynth.benchmarks.stats.bayes import signed_rank
from fedsynth.benchmarks.store import Store

ROOT = Path(__file__).parents[1]
OWN = np.array([20.0, 20.5, 21.0, 21.5])  # dB, of subjects with method b
GAIN = np.array([-0.3, 0.1, 0.3, -0.1])  # by which subjects differ around the mean difference
WIGGLE = np.array([0.1, -0.1, 0.1, -0.1, 0.1])  # of seeds


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def put(store: Store, method: str, seed: int, shift: Mapping[str, float] | float | None, **more: Any) -> None:
    """A run of four subjects a site, who differ from OWN by GAIN and a shift (of each site), or are OWN without one."""
    facts = {name: more.pop(name) for name in ("costs", "status", "reason", "changed") if name in more}
    what = finished.identity(method={"name": method} | more.pop("options", {}), seed=seed, **more)
    own = {}
    for site, tasks in what["scenario"]["tasks"].items():
        gain = 0 if shift is None else GAIN + (shift[site] if isinstance(shift, Mapping) else shift)
        own |= {(site, task): (OWN + gain).tolist() for task in tasks}
    finished.finish(store, what, own, **facts)


def pair(store: Store, seeds: int = 5, better: Mapping[str, float] | float = 1.0, **more: Any) -> None:
    """Method `a`, better than `b` by as much, and by WIGGLE more in each seed."""
    for seed in range(seeds):
        shift = {site: own + WIGGLE[seed] for site, own in better.items()} if isinstance(better, Mapping) else better
        put(store, "a", seed, shift + WIGGLE[seed] if isinstance(shift, float) else shift, **more)
        put(store, "b", seed, None, **more)


def said(store: Store, capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> tuple[str, str]:
    """What is printed on both streams, with single blanks and without line breaks inside of a paragraph."""
    capsys.readouterr()
    assert main(["compare", *arguments, "--results", str(store.runs.parent)]) == status
    shown = capsys.readouterr()
    found: list[str] = []
    for line in shown.out.splitlines():
        assert len(line) <= 120
        if (
            line.startswith("  ")
            and found[-1].endswith(tuple("abcdefghijklmnopqrstuvwxyz,:;)"))
            and "  " not in line[2:]
        ):
            found[-1] += " " + line.strip()
        else:
            found.append(" ".join(line.split()))
    return "\n".join(found), shown.err


def test_every_number_is_that_worked_by_hand(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    pair(store, better={"ixi": 0.9, "oasis": -0.2}, costs={"bytes_up": 3e6, "parameters": 2e6})
    # Site-tasks differ by 0.92, -0.18 and -0.18 (the seeds' mean is 0.02), so the scores by 0.56 / 3. Seeds: variance
    # 0.012, / 5. Subjects: GAIN's variance 0.2 / 3, / 4 subjects, of a site that weighs 1/3 (ixi) and 2/3. No residual.
    difference, of_seeds, of_ixi, of_oasis = 0.56 / 3, 0.012 / 5, 0.2 / 12 / 9, 0.2 / 12 * 4 / 9
    error = np.sqrt(of_seeds + of_ixi + of_oasis)
    freedom = error**4 / (of_seeds**2 / 4 + of_ixi**2 / 3 + of_oasis**2 / 3)
    low, high = stats.t.interval(0.95, freedom, difference, error)
    low90, high90 = stats.t.interval(0.90, freedom, difference, error)
    p = 2 * stats.t.sf(difference / error, freedom)
    p_equal = stats.t.sf((0.2 - difference) / error, freedom)
    place_error = np.sqrt(of_seeds + 0.2 / 12)
    place = place_error * stats.t.ppf(0.975, place_error**4 / (of_seeds**2 / 4 + (0.2 / 12) ** 2 / 3))
    gains = np.concatenate([GAIN + 0.92, GAIN - 0.18])
    a_sd = np.std(OWN + GAIN, ddof=1)
    text, error_text = said(store, capsys, "a", "b")
    assert error_text == ""
    assert text.splitlines() == [
        "variable on phantom",
        "",
        "A a/resnet",
        "B b/resnet",
        "",
        "5 seeds (0, 1, 2, 3, 4), 8 test subjects at 2 sites; scores of the round with the best validation PSNR (mean over "
        "site-tasks), one round for all sites.",
        "PSNR: higher is better; where A - B is above 0, A is better.",
        "",
        "A B A - B",
        "PSNR 20.94 20.75 +0.19",
        "sd over seeds 0.11 0.00",
        f"sd over subjects {a_sd:.2f} 0.65",
        "worst site oasis ixi",
        "its score 20.57 20.75 -0.18",
        "worst 5 % of subjects 19.52 20.00 -0.48",
        "",
        "site task subjects A B A - B 95 % interval",
        f"ixi T1->T2 4 21.67 20.75 +0.92 {0.92 - place:+.2f} to {0.92 + place:+.2f}",
        f"oasis T1->T2 4 20.57 20.75 -0.18 {-0.18 - place:+.2f} to {-0.18 + place:+.2f}",
        f"oasis T2->FLAIR 4 20.57 20.75 -0.18 {-0.18 - place:+.2f} to {-0.18 + place:+.2f}",
        "Each interval of a site-task stands for itself: of many, some leave out 0 by chance.",
        "",
        f"Difference: +0.19 dB, 95 % interval {low:+.2f} to {high:+.2f} (other seeds, and other subjects at these sites); "
        f"p = {p:.3g}.",
        "Spread of the differences: sd 0.11 over seeds, 0.26 over subjects.",
        f"Effect size: {difference / np.sqrt(0.2 / 3):+.2f}, the difference over its sd over subjects.",
        f"A gains at 1 of 2 sites (least at oasis, -0.18 dB) and for {100 * np.mean(gains > 0):.0f} % of subjects (the worst 5 % "
        "within a seed: -0.48 dB).",
        f"Equivalence within +-0.2 dB: 90 % interval {low90:+.2f} to {high90:+.2f}; p = {p_equal:.3g}: not shown to be "
        "equivalent.",
        f"Wilcoxon over subjects, given these trained models: p = {stats.wilcoxon(gains).pvalue:.3g}. It knows of no other "
        "seeds and decides nothing.",
        "",
        "a whole run A B A / B",
        "parameters of a site (M) 2.000 2.000 1.00",
        "parameters that travel (M) 0.000 0.000 1.00",
        "MB up, all sites and rounds 3.0 3.0 1.00",
        "MB down, all sites and rounds 0.0 0.0 1.00",
        "gradient evaluations (k) 0.0 0.0 1.00",
        "",
        f"Verdict: neither a nor b is shown to be better, nor are they shown to be equivalent: the difference may be anything "
        f"from {low:+.2f} to {high:+.2f} dB.",
        "",
        "",
        "Across blocks (scenario x data set): 1 here, and 5 independent ones are needed to say anything.",
    ]


@pytest.mark.parametrize(
    ("better", "bound", "sentence"),
    [
        (1.0, "0.2", "a is better than b by 1.02 dB ("),
        (-1.0, "0.2", "b is better than a by 0.98 dB ("),
        (1.0, "9", "), which is within the bound of what does not matter."),
        (0.0, "0.5", "a and b are equivalent within 0.5 dB."),
        (
            0.0,
            "0.01",
            "neither a nor b is shown to be better, nor are they shown to be equivalent: the difference may be",
        ),
    ],
)
def test_the_verdict(
    store: Store, capsys: pytest.CaptureFixture[str], better: float, bound: str, sentence: str
) -> None:
    pair(store, better=better)
    text, _ = said(store, capsys, "a", "b", "--bound", bound)
    (verdict,) = [line for line in text.splitlines() if line.startswith("Verdict:")]
    assert sentence in verdict


def test_a_and_b_exchanged_say_the_same_of_each(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    pair(store)
    verdicts = [
        [line for line in said(store, capsys, *names)[0].splitlines() if line.startswith("Verdict:")]
        for names in (("a", "b"), ("b", "a"))
    ]
    assert verdicts[0] == verdicts[1]


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_few_seeds_draw_no_significance(store: Store, capsys: pytest.CaptureFixture[str], seeds: int) -> None:
    pair(store, seeds, better=9.0)
    text, _ = said(store, capsys, "a", "b")
    assert f"; few seeds ({seeds}): below 5 no significance is drawn." in text
    assert "no significance is drawn.\n" in text.partition("Equivalence")[2]
    assert f"Verdict: {seeds} seeds are too few to call a or b better; the difference so far is +9." in text
    assert "p = " not in text.replace(text[text.index("Wilcoxon") : text.index("decides nothing")], "")
    assert "is better than" not in text


def test_one_seed_says_why_nothing_can_be_said(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    pair(store, 1, better=9.0)
    text, _ = said(store, capsys, "a", "b")
    assert (
        "Verdict: nothing can be said of the difference: 1 seed (0): what a seed does cannot be told from what a"
        in text
    )
    assert "PSNR 29.85 20.75 +9.10" in text
    assert "sd over seeds - -" in text
    assert not any(word in text for word in ("interval", "p = ", "p <", "Wilcoxon", "Effect"))


def test_a_site_with_one_subject_says_why(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, method in [(seed, method) for seed in range(5) for method in "ab"]:
        what = finished.identity(method={"name": method}, seed=seed)
        finished.finish(
            store, what, {("ixi", "T1->T2"): [20], ("oasis", "T1->T2"): [20, 21], ("oasis", "T2->FLAIR"): [20]}
        )
    text, _ = said(store, capsys, "a", "b")
    assert "nothing can be said of the difference: site ixi has 1 test subject for T1->T2" in text
    assert "sd over subjects - -" in text


def test_only_common_seeds_count(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    pair(store, 3)
    put(store, "a", 7, 50.0)
    text, _ = said(store, capsys, "a", "b")
    assert "3 seeds (0, 1, 2), 8 test subjects" in text
    assert "Left out, as only A has a finished run: seed 7." in text
    assert "PSNR 21.78 20.75 +1.03" in text


def test_no_common_seed_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    put(store, "a", 0, 1.0)
    put(store, "b", 1, 1.0)
    text, error = said(store, capsys, "a", "b", status=1)
    assert text == ""
    assert "not compared: variable on phantom: A has seeds [0], B [1], none in common; run both with the same" in error


def test_the_last_round_if_it_is_asked_for(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    pair(store)
    text, _ = said(store, capsys, "a", "b", "--selection", "last")
    assert "at 2 sites; scores of the last round." in text
    assert "PSNR 20.77 19.75 +1.02" in text  # of these runs 1 dB less


def test_where_less_is_better_the_sign_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, (method, nmse) in [(s, m) for s in range(5) for m in (("a", 0.02), ("b", 0.05))]:
        what = finished.identity(method={"name": method}, seed=seed)
        found = finished.record(what)
        store.folder(found.run).mkdir(parents=True)
        rows = finished.scores(what)
        for number, row in enumerate(rows):
            row["nmse"] = nmse * (1.5 if row["site"] == "oasis" else 1) + 1e-4 * (-1) ** (number + seed) * (
                method == "a"
            )
        write_record(store.folder(found.run), found, rows, finished.curve(what))
    text, _ = said(store, capsys, "a", "b", "--metric", "nmse")
    assert "NMSE: lower is better, so the difference is B - A; where it is above 0, A is better." in text
    assert "A B B - A\nNMSE 0.0267 0.0667 +0.0400\n" in text
    assert "worst site oasis oasis\nits score 0.0300 0.0750 +0.0450" in text  # the largest error is the worst
    assert "Equivalence: not tested; say by --bound which difference of NMSE does not matter." in text
    assert "Verdict: a is better than b by 0.0400 (" in text
    text, _ = said(store, capsys, "b", "a", "--metric", "nmse", "--bound", "0.05")
    assert "NMSE 0.0667 0.0267 -0.0400\n" in text
    assert "Verdict: a is better than b by 0.0400 (" in text
    assert "within the bound of what does not matter" in text


def test_every_metric_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    pair(store, 2)
    for column in METRICS:
        metric = Metric.of(column)
        assert metric.convention in said(store, capsys, "a", "b", "--metric", column)[0]
        assert (metric.scale < 0) == column.startswith(("nmse", "mae"))
    assert "SSIM x 100 21.75 20.75 +1.00" in said(store, capsys, "a", "b", "--metric", "ssim")[0]
    assert Metric.of("psnr_fg").label == "PSNR in the foreground"


def test_a_missing_score_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for method in "ab":
        what = finished.identity(method={"name": method})
        found = finished.record(what)
        store.folder(found.run).mkdir(parents=True)
        rows = [row | {"psnr_fg": float("nan")} for row in finished.scores(what)]
        write_record(store.folder(found.run), found, rows, finished.curve(what))
    _, error = said(store, capsys, "a", "b", "--metric", "psnr_fg", status=1)
    assert "the score of seed 0, ixi T1->T2 test000 is nan; it must be a finite number" in error


def test_warnings(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(5):
        more: dict[str, Any] = {"trainer": {"rounds": 2}}
        bad: dict[str, Any] = {"status": "diverged", "reason": "nan"} if seed == 3 else {}
        put(store, "a", seed, 1.0, costs={"bytes_up": 0.0}, **more, **bad)
        put(store, "b", seed, None, network={"name": "unet"}, costs={"bytes_up": 0.0}, **more)
    text, _ = said(store, capsys, "a", "b")
    assert text.startswith("variable on phantom: smoke run\n")
    assert (
        "Smoke run (local steps a site: 200 (ranks need 10,000)): more training may turn the difference around." in text
    )
    assert "A: 1 of 5 seeds diverged; such a run is scored as the mean training image." in text
    assert "A and B differ in method and in network, so the difference is not the method's alone." in text
    assert "MB up, all sites and rounds 0.0 0.0 -\n" in text
    assert "Verdict: a/resnet" in text


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


def test_a_name_of_several_rows_lists_them(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    several(store)
    for name, count in (("prox", 4), ("prox mu=0.1", 2), ("prox/unet", 2)):
        text, error = said(store, capsys, name, "b", status=2)
        assert text == ""
        assert error.startswith(f"fedsynth: variable on phantom: {name!r} means {count} rows, 'prox mu=")
        choices = error.partition("rows, ")[2].partition("; give one of these")[0].strip("'").split("', '")
        assert len(choices) == count
        for choice in choices:
            said(store, capsys, choice, "b")


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
    with pytest.raises(SystemExit, match="2"):
        main(["compare", "a", "b", f"--bound={bound}"])
    assert "argument --bound" in capsys.readouterr().err


def test_tables_are_corrected_for_each_other(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    sites = {"ixi": 0.9, "oasis": -0.06}
    pair(store, better=sites)
    alone, _ = said(store, capsys, "a", "b")
    p = float(alone.partition("; p = ")[2].partition(".\n")[0])
    assert 0.025 < p < 0.05
    assert "Verdict: a is better" in alone
    pair(store, better=sites, dataset={"size": 128})
    put(store, "a", 0, 0.0, dataset={"size": 256})
    both, error = said(store, capsys, "a", "b")
    corrected = re.findall(r"; p = (\S+), p = (\S+) corrected for 2 tables \(Holm\)\.", both)
    assert [float(own) for own, _ in corrected] == [p, p]
    assert [float(more) for _, more in corrected] == pytest.approx([2 * p, 2 * p], rel=0.01)
    assert both.count("Verdict: neither a nor b is shown to be better") == 2
    assert "not compared: variable on phantom, dataset.size=256: no finished run of b" in error


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
    assert "say by --bound" in said(store, capsys, "a", "b", "--metric", "ssim")[0].splitlines()[-1]


def test_four_blocks_say_nothing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    blocks(store, 4)
    text, _ = said(store, capsys, "a", "b")
    assert text.splitlines()[-1].endswith(": 4 here, and 5 independent ones are needed to say anything.")


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
