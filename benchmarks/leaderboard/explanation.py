"""A paired comparison in words: scores, the difference and how sure it is, where it lies, what it costs, and a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from textwrap import wrap

import numpy as np

from ..records.text_table import how_many, text_table
from ..stats.compare import FEW_SEEDS, compare, subject_variance, wilcoxon_given_these_models
from ..stats.equivalence import Equivalence, equivalence
from ..stats.reliability import reliability
from ..stats.scores import Scores
from ..tables.caption import scores_of
from ..tables.statistics import Decision
from ..tables.views.verdict import verdict
from .paired_comparison import PairedComparison
from .text import WIDTH

COSTS = {  # as in a record: the label, what one unit of the label is, its digits
    "parameters": ("parameters of a site (M)", 1e6, 3),
    "parameters_travelling": ("parameters that travel (M)", 1e6, 3),
    "bytes_up": ("MB up, all sites and rounds", 1e6, 1),
    "bytes_down": ("MB down, all sites and rounds", 1e6, 1),
    "gradient_evaluations": ("gradient evaluations (k)", 1e3, 1),
}


def explanation(comparison: PairedComparison, bound: float | None) -> list[str]:
    """The lines that explain a comparison. `bound`: a difference that does not matter, in the metric's unit, or None if nobody
    gave one."""
    decision = comparison.decision
    lines = [comparison.table.title, "", f"A  {comparison.a.full_name}", f"B  {comparison.b.full_name}", ""]
    lines += [*wrapped(_setting(comparison)), ""]
    lines += [*text_table(list(_score_lines(comparison))), "", *text_table(list(_site_task_lines(comparison)))]
    if decision:
        if len(comparison.differences.design.site_tasks) > 1:
            lines += wrapped(["Each site-task has an interval of its own: of many, some exclude 0 by chance."])
        same = equivalence(decision.comparison, bound) if bound else None
        lines += ["", *wrapped(_evidence(comparison, decision, same))]
        answer = " ".join([verdict(*comparison.names, decision, comparison.metric), *_of_practical_use(decision, same)])
    else:
        answer = f"nothing can be said of the difference: {comparison.result}."
    lines += ["", *text_table(list(_cost_lines(comparison))), ""]
    return lines + wrapped([f"Verdict: {answer}", *_warnings(comparison)])


def _setting(comparison: PairedComparison) -> Iterator[str]:
    """What was compared."""
    design = comparison.differences.design
    yield (
        f"{how_many(len(comparison.seeds), 'seed')} ({_listed(comparison.seeds)}), "
        f"{how_many(len(design.subjects), 'test subject')} at {how_many(len(design.sites), 'site')}; scores of "
        f"{scores_of(comparison.table.selection)}."
    )
    yield f"{comparison.metric.convention}."
    for name, row in (("A", comparison.a), ("B", comparison.b)):
        if alone := sorted(set(row.seeds) - set(comparison.seeds)):
            noun = "seed" if len(alone) == 1 else "seeds"
            yield f"Left out, because only {name} has a finished run: {noun} {_listed(alone)}."


def _score_lines(comparison: PairedComparison) -> Iterator[list[str]]:
    """The score of A and B, its spreads, and the site and subjects that each serves worst."""
    metric, scores = comparison.metric, comparison.scores
    served = [reliability(own) for own in scores]
    yield ["", "A", "B", metric.difference]
    means = [float(np.mean(own.values @ own.design.weights)) for own in scores]
    yield [metric.label, *map(metric.plain, means), metric.signed(comparison.difference)]
    yield ["sd over seeds", *(metric.spread(own.over_seeds) for own in served), ""]
    yield ["sd over subjects", *(metric.spread(_subject_spread(own)) for own in scores), ""]
    worst = [own.worst_site_score for own in served]
    yield ["worst site", *(own.worst_site for own in served), ""]
    yield ["  its score", *map(metric.plain, worst), metric.signed(worst[0] - worst[1])]
    tails = [own.worst_subjects for own in served]
    yield ["worst 5 % of subjects", *map(metric.plain, tails), metric.signed(tails[0] - tails[1])]


def _site_task_lines(comparison: PairedComparison) -> Iterator[list[str]]:
    """A line for each site-task; the intervals are left out where there are none."""
    metric, design = comparison.metric, comparison.differences.design
    with_intervals = comparison.decision is not None
    yield ["site", "task", "subjects", "A", "B", metric.difference, *["95 % interval"] * with_intervals]
    means = [own.design.site_task_means(own.values).mean(0) for own in comparison.scores]
    for site_task, count, a, b in zip(design.site_tasks, design.in_site_task.sum(0), *means, strict=True):
        line = [*site_task, f"{count:.0f}", metric.plain(a), metric.plain(b), metric.signed(a - b)]
        if with_intervals:
            own = compare(comparison.differences_at(site_task))
            line.append(metric.between(own.low, own.high))
        yield line


def _evidence(comparison: PairedComparison, decision: Decision, same: Equivalence | None) -> Iterator[str]:
    """How sure the difference is, how large, at which sites, and what it does not show."""
    metric, design = comparison.metric, comparison.differences.design
    served, result = reliability(comparison.differences), decision.comparison
    if result.p is None:
        sure = f"few seeds ({result.seeds}): below {FEW_SEEDS} no significance is drawn"
    else:
        sure = f"{_p_value(result.p)} for this pair alone"
    yield (
        f"Difference: {metric.signed(result.difference)}{metric.unit}, 95 % interval "
        f"{metric.between(result.low, result.high)} (for other seeds and other subjects at these sites); {sure}."
    )
    if decision.low is not None and decision.high is not None and decision.adjusted is not None:
        yield (
            f"Among all pairs of the table's methods: interval {metric.between(decision.low, decision.high)}; "
            f"{_p_value(decision.adjusted)}. It decides, since a pair may be chosen after looking."
        )
    over_seeds, over_subjects = metric.spread(served.over_seeds), metric.spread(result.spread)
    yield f"Spread of the differences: sd {over_seeds} over seeds, {over_subjects} over subjects."
    if np.isnan(result.effect):
        yield "Effect size: none, because subjects do not differ."
    else:
        yield f"Effect size: {result.effect:+.2f}, the difference divided by its sd over subjects."
    gaining = f"{round(result.sites_gaining * len(design.sites))} of {how_many(len(design.sites), 'site')}"
    least = f"least at {served.worst_site}, {metric.signed(served.worst_site_score)}{metric.unit}"
    yield (
        f"A gains at {gaining} ({least}) and for {100 * result.subjects_gaining:.0f} % of subjects "
        f"(mean of the worst 5 %: {metric.signed(served.worst_subjects)}{metric.unit})."
    )
    if same:
        answer = "no significance is drawn" if same.p is None else _p_value(same.p)
        inside = {None: "", True: ": equivalent", False: ": not shown to be equivalent"}[same.equivalent]
        yield (
            f"Equivalence within +-{same.bound:g}{metric.unit}: 90 % interval {metric.between(same.low, same.high)}; "
            f"{answer}{inside}."
        )
    else:
        yield f"Equivalence: not tested; give --bound, the largest difference of {metric.label} that does not matter."
    wilcoxon = _p_value(wilcoxon_given_these_models(comparison.differences))
    yield f"Wilcoxon over subjects, given these trained models: {wilcoxon}. It knows of no other seeds and decides nothing."


def _of_practical_use(decision: Decision, same: Equivalence | None) -> Iterator[str]:
    """Whether the difference is within the bound of what does not matter."""
    if same and same.equivalent is not None:
        if same.equivalent:
            yield f"They are equivalent within {same.bound:g}: the difference does not matter."
        elif not decision.significant:
            yield "Nor are they shown to be equivalent."


def _warnings(comparison: PairedComparison) -> Iterator[str]:
    """What must be read with the verdict."""
    left = comparison.table.statistics(comparison.metric.column).left
    for name, row in (("A", comparison.a), ("B", comparison.b)):
        for reason in (why for at, why in left.items() if comparison.table.rows[at] is row):
            yield f"{name} has left the families that are tested: {reason}."
    if comparison.table.not_ranked:
        yield f"The table is not ranked: {'; '.join(comparison.table.not_ranked)}."
    for name, row in (("A", comparison.a), ("B", comparison.b)):
        runs = comparison.runs(row)
        if diverged := sum(run.record.status == "diverged" for run in runs):
            yield (
                f"{name}: {diverged} of {how_many(len(runs), 'seed')} diverged; a diverged run is scored as the mean training "
                "image."
            )
        if below := sum(run.record.below_floor for run in runs):
            yield (
                f"{name}: {below} of {how_many(len(runs), 'seed')} ended below the floor, with a validation PSNR below that of "
                "copying the source."
            )
        if row.rounds_with_too_few:
            yield f"{name}: in {how_many(row.rounds_with_too_few, 'round')} too few uploads arrived for its trainer.server_rule."
    if comparison.a.method != comparison.b.method and comparison.a.network != comparison.b.network:
        yield "A and B differ in method and in network, so the difference is not due to the method alone."


def _cost_lines(comparison: PairedComparison) -> Iterator[list[str]]:
    """What a run of A and of B costs, mean over seeds."""
    yield ["a whole run", "A", "B", "A / B"]
    for name, (label, unit, digits) in COSTS.items():
        a, b = (fmean(run.cost(name) for run in comparison.runs(row)) for row in (comparison.a, comparison.b))
        yield [label, f"{a / unit:,.{digits}f}", f"{b / unit:,.{digits}f}", f"{a / b:.2f}" if b else "-"]


def _subject_spread(scores: Scores) -> float | None:
    """The standard deviation over subjects, within site-tasks and seeds; None where a site-task has one subject."""
    several = scores.design.in_site_task.sum(0).min() > 1
    return float(np.sqrt(subject_variance(scores.values, scores.design))) if several else None


def _p_value(p: float) -> str:
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.3g}"


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def wrapped(sentences: Iterable[str]) -> list[str]:
    """Lines of at most WIDTH characters; those that continue a sentence are indented."""
    return [
        line for sentence in sentences for line in wrap(sentence, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    ]
