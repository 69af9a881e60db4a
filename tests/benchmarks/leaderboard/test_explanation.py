"""A paired comparison in words: its numbers are worked by hand and by scipy, and it says no more than the scores support."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support import finished
from support.pairs import GAIN, OWN, pair, put, said

from fedsynth.benchmarks.records.record import write_record
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.stats.multiple.reference import reference
from fedsynth.benchmarks.tables.metric import Metric
from fedsynth.evaluation.columns import metric_columns


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


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
    subjects = of_ixi + of_oasis  # and their degrees of freedom, Satterthwaite's
    shares = of_seeds / 4 + subjects / (subjects**2 / (of_ixi**2 / 3 + of_oasis**2 / 3))
    drawn = reference(2, round(np.sqrt(freedom * error**2 / shares)), ((0, 1),))
    margin, family = drawn.critical * error, float(drawn.p(np.array(difference / error)))
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
        "Each site-task has an interval of its own: of many, some exclude 0 by chance.",
        "",
        f"Difference: +0.19 dB, 95 % interval {low:+.2f} to {high:+.2f} (for other seeds and other subjects at these sites); "
        f"p = {p:.3g} for this pair alone.",
        f"Among all pairs of the table's methods: interval {difference - margin:+.2f} to {difference + margin:+.2f}; "
        f"p = {family:.3g}. It decides, since a pair may be chosen after looking.",
        "Spread of the differences: sd 0.11 over seeds, 0.26 over subjects.",
        f"Effect size: {difference / np.sqrt(0.2 / 3):+.2f}, the difference divided by its sd over subjects.",
        f"A gains at 1 of 2 sites (least at oasis, -0.18 dB) and for {100 * np.mean(gains > 0):.0f} % of subjects (mean of "
        "the worst 5 %: -0.48 dB).",
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
        f"Verdict: neither a nor b is shown to be better: the difference is +0.19 dB and may be anything from "
        f"{difference - margin:+.2f} to {difference + margin:+.2f} dB. Nor are they shown to be equivalent.",
        "The table is not ranked: 2 of 2 rows were validated in too few rounds to tell whether they still rise; a site has 4 of "
        "20 test subjects.",
        "",
        "",
        "Across blocks (scenario x data set): 1 here, but 5 independent ones are needed to say anything.",
    ]


@pytest.mark.parametrize(
    ("better", "bound", "sentence"),
    [
        (1.0, "0.2", "a is better than b by 1.02 dB ("),
        (-1.0, "0.2", "b is better than a by 0.98 dB ("),
        (1.0, "9", "They are equivalent within 9: the difference does not matter."),
        (0.0, "0.5", "They are equivalent within 0.5: the difference does not matter."),
        (
            0.0,
            "0.01",
            "Nor are they shown to be equivalent.",
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
        "Verdict: nothing can be said of the difference: 1 seed (0): the effect of a seed cannot be told from that of"
        in text
    )
    assert "PSNR 29.85 20.75 +9.10" in text
    assert "sd over seeds - -" in text
    assert not any(word in text for word in ("interval", "p = ", "p <", "Wilcoxon", "Effect"))


def test_a_site_with_one_subject_says_why(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, method in [(seed, method) for seed in range(5) for method in "ab"]:
        what = finished.identity(method={"name": method}, seed=seed)
        finished.finish(
            store, what, {("ixi", "T1->T2"): [20], ("oasis", "T1->T2"): [20, 21], ("oasis", "T2->FLAIR"): [20, 20]}
        )
    text, _ = said(store, capsys, "a", "b")
    assert "nothing can be said of the difference: site ixi has 1 test subject for T1->T2" in text
    assert "sd over subjects - -" in text


def test_only_common_seeds_count(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    pair(store, 3)
    put(store, "a", 7, 50.0)
    text, _ = said(store, capsys, "a", "b")
    assert "3 seeds (0, 1, 2), 8 test subjects" in text
    assert "Left out, because only A has a finished run: seed 7." in text
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
    assert "Equivalence: not tested; give --bound, the largest difference of NMSE that does not matter." in text
    assert "Verdict: a is better than b by 0.0400 (" in text
    text, _ = said(store, capsys, "b", "a", "--metric", "nmse", "--bound", "0.05")
    assert "NMSE 0.0667 0.0267 -0.0400\n" in text
    assert "Verdict: a is better than b by 0.0400 (" in text
    assert "They are equivalent within 0.05: the difference does not matter." in text


def test_every_metric_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    pair(store, 2)
    for column in metric_columns():
        metric = Metric.of(column)
        assert metric.convention in said(store, capsys, "a", "b", "--metric", column)[0]
        assert (metric.scale < 0) == column.startswith(("nmse", "mae", "hf_nmse"))
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
    assert "none of 60 (site, task, subject) has a score; choose another metric" in error


def test_warnings(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(5):
        more: dict[str, Any] = {"trainer": {"rounds": 2}}
        bad: dict[str, Any] = {"status": "diverged", "reason": "nan"} if seed == 3 else {}
        put(store, "a", seed, 1.0, costs={"bytes_up": 0.0}, **more, **bad)
        costs = {"bytes_up": 0.0, "rounds_with_too_few": float(seed)}
        put(store, "b", seed, None, network={"name": "unet"}, costs=costs, below_floor=seed > 2, **more)
    text, _ = said(store, capsys, "a", "b")
    assert "The table is not ranked: fewer than two rows have every seed and no diverged one." in text
    assert "A: 1 of 5 seeds diverged; a diverged run is scored as the mean training image." in text
    assert "B: 2 of 5 seeds ended below the floor, with a validation PSNR below that of copying the source." in text
    assert "B: in 10 rounds too few uploads arrived for its trainer.server_rule." in text
    assert "A and B differ in method and in network, so the difference is not due to the method alone." in text
    assert "MB up, all sites and rounds 0.0 0.0 -\n" in text
    assert "A has left the families that are tested: 1 of 5 seeds diverged." in text
    assert "Verdict: exploratory, so neither a/resnet nor b/unet is called better" in text
