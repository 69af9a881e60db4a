"""A pair in words: scores, the difference and how sure it is, whom it serves, what it costs, and a verdict of one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from textwrap import wrap

import numpy as np

from ..stats.compare import FEW_SEEDS, Comparison, compare, subject_variance, wilcoxon_given_these_models
from ..stats.equivalence import Equivalence, equivalence
from ..stats.multiple import Decision
from ..stats.reliability import reliability
from ..stats.scores import Scores
from ..tables.caption import whose
from ..tables.table import too_small
from .paired_comparison import PairedComparison
from .text import WIDTH

COSTS = {  # as in a record: the name, the unit in which it is told, its digits
    "parameters": ("parameters of a site (M)", 1e6, 3),
    "parameters_travelling": ("parameters that travel (M)", 1e6, 3),
    "bytes_up": ("MB up, all sites and rounds", 1e6, 1),
    "bytes_down": ("MB down, all sites and rounds", 1e6, 1),
    "gradient_evaluations": ("gradient evaluations (k)", 1e3, 1),
}


def explain(pair: PairedComparison, bound: float | None, decision: Decision | None, tables: int = 1) -> str:
    """The text of a pair. `bound`: a difference that does not matter, in the metric's unit, or None if nobody said;
    `decision`: the comparison's among the `tables` that are tested with it."""
    found = pair.comparison
    lines = [pair.table.title, "", f"A  {pair.a.full_name}", f"B  {pair.b.full_name}", "", *folded(setting(pair))]
    lines += ["", *grid(summary(pair)), "", *grid(places(pair))]
    if isinstance(found, Comparison):
        if len(pair.differences.design.site_tasks) > 1:
            lines += folded(["Each interval of a site-task stands for itself: of many, some leave out 0 by chance."])
        same = equivalence(found, bound) if bound else None
        lines += ["", *folded(evidence(pair, found, same, decision, tables))]
        said = verdict(pair, found, same, decision)
    else:
        said = f"nothing can be said of the difference: {found}."
    return "\n".join([*lines, "", *grid(costs(pair)), "", *folded([f"Verdict: {said}", *warnings(pair, decision)])])


def setting(pair: PairedComparison) -> Iterator[str]:
    """What was compared."""
    design = pair.differences.design
    yield (
        f"{counted(len(pair.seeds), 'seed')} ({listed(pair.seeds)}), {counted(len(design.subjects), 'test subject')} at "
        f"{counted(len(design.sites), 'site')}; scores of {whose(pair.table.selection)}."
    )
    yield f"{pair.metric.convention}."
    for name, row in (("A", pair.a), ("B", pair.b)):
        if alone := sorted(set(row.seeds) - set(pair.seeds)):
            yield f"Left out, as only {name} has a finished run: {'seed' if len(alone) == 1 else 'seeds'} {listed(alone)}."


def summary(pair: PairedComparison) -> Iterator[list[str]]:
    """Each one's score, its spreads, and whom it serves worst."""
    metric, scores = pair.metric, pair.scores
    served = [reliability(own) for own in scores]
    yield ["", "A", "B", metric.difference]
    means = [float(np.mean(own.values @ own.design.weights)) for own in scores]
    yield [metric.label, *map(metric.plain, means), metric.signed(pair.difference)]
    yield ["sd over seeds", *(metric.spread(own.over_seeds) for own in served), ""]
    yield ["sd over subjects", *(metric.spread(subjects_spread(own)) for own in scores), ""]
    worst = [own.worst_site_score for own in served]
    yield ["worst site", *(own.worst_site for own in served), ""]
    yield ["  its score", *map(metric.plain, worst), metric.signed(worst[0] - worst[1])]
    tails = [own.worst_subjects for own in served]
    yield ["worst 5 % of subjects", *map(metric.plain, tails), metric.signed(tails[0] - tails[1])]


def places(pair: PairedComparison) -> Iterator[list[str]]:
    """A line a site-task; the intervals are left out where there are none."""
    metric, design = pair.metric, pair.differences.design
    several = isinstance(pair.comparison, Comparison)
    yield ["site", "task", "subjects", "A", "B", metric.difference, *["95 % interval"] * several]
    means = [own.design.site_task_means(own.values).mean(0) for own in pair.scores]
    for place, count, a, b in zip(design.site_tasks, design.in_site_task.sum(0), *means, strict=True):
        line = [*place, f"{count:.0f}", metric.plain(a), metric.plain(b), metric.signed(a - b)]
        if several:
            own = compare(pair.at(place))
            line.append(metric.between(own.low, own.high))
        yield line


def evidence(
    pair: PairedComparison, found: Comparison, same: Equivalence | None, decision: Decision | None, tables: int
) -> Iterator[str]:
    """How sure the difference is, how large, for whom, and what may not be read from it."""
    metric, served, design = pair.metric, reliability(pair.differences), pair.differences.design
    if found.p is None:
        sure = f"few seeds ({found.seeds}): below {FEW_SEEDS} no significance is drawn"
    else:
        sure = told(found.p)
        if tables > 1 and decision and decision.adjusted is not None:
            sure += f", {told(decision.adjusted)} corrected for {tables} tables (Holm)"
    yield (
        f"Difference: {metric.signed(found.difference)}{metric.unit}, 95 % interval {metric.between(found.low, found.high)} "
        f"(other seeds, and other subjects at these sites); {sure}."
    )
    over_seeds, over_subjects = metric.spread(served.over_seeds), metric.spread(found.spread)
    yield f"Spread of the differences: sd {over_seeds} over seeds, {over_subjects} over subjects."
    if np.isnan(found.effect):
        yield "Effect size: none, as subjects do not differ."
    else:
        yield f"Effect size: {found.effect:+.2f}, the difference over its sd over subjects."
    gaining = f"{round(found.sites_gaining * len(design.sites))} of {counted(len(design.sites), 'site')}"
    least = f"least at {served.worst_site}, {metric.signed(served.worst_site_score)}{metric.unit}"
    yield (
        f"A gains at {gaining} ({least}) and for {100 * found.subjects_gaining:.0f} % of subjects "
        f"(the worst 5 % within a seed: {metric.signed(served.worst_subjects)}{metric.unit})."
    )
    if same:
        answer = "no significance is drawn" if same.p is None else told(same.p)
        inside = {None: "", True: ": equivalent", False: ": not shown to be equivalent"}[same.equivalent]
        yield (
            f"Equivalence within +-{same.bound:g}{metric.unit}: 90 % interval {metric.between(same.low, same.high)}; "
            f"{answer}{inside}."
        )
    else:
        yield f"Equivalence: not tested; say by --bound which difference of {metric.label} does not matter."
    yield (
        f"Wilcoxon over subjects, given these trained models: {told(wilcoxon_given_these_models(pair.differences))}. "
        "It knows of no other seeds and decides nothing."
    )


def verdict(pair: PairedComparison, found: Comparison, same: Equivalence | None, decision: Decision | None) -> str:
    """One plain sentence. Without a decision, or with few seeds, neither is called better."""
    metric, (a, b) = pair.metric, pair.names
    if decision is None or decision.significant is None:
        return (
            f"{counted(found.seeds, 'seed')} are too few to call {a} or {b} better; the difference so far is "
            f"{metric.signed(found.difference)}{metric.unit}, and {FEW_SEEDS} seeds are needed."
        )
    low, high = sorted((abs(found.low), abs(found.high)))
    if decision.significant:
        winner, loser = (a, b) if found.difference > 0 else (b, a)
        size = f"by {metric.spread(abs(found.difference))}{metric.unit} ({metric.spread(low)} to {metric.spread(high)})"
        small = ", which is within the bound of what does not matter" if same and same.equivalent else ""
        return f"{winner} is better than {loser} {size}{small}."
    if same and same.equivalent:
        return f"{a} and {b} are equivalent within {same.bound:g}{metric.unit}."
    shown = ", nor are they shown to be equivalent" if same else ""
    return (
        f"neither {a} nor {b} is shown to be better{shown}: the difference may be anything from "
        f"{metric.between(found.low, found.high)}{metric.unit}."
    )


def warnings(pair: PairedComparison, decision: Decision | None) -> Iterator[str]:
    """What must be read with the verdict."""
    if decision and decision.significant is not None:
        yield "p is that of a pair chosen before looking; of all pairs of a table, some p are small by chance."
    if pair.table.smoke:
        yield f"Smoke run ({', '.join(too_small(pair.a.runs[0].record))}): more training may turn the difference around."
    for name, row in (("A", pair.a), ("B", pair.b)):
        runs = pair.runs(row)
        if diverged := sum(run.record.status == "diverged" for run in runs):
            yield f"{name}: {diverged} of {counted(len(runs), 'seed')} diverged; such a run is scored as the mean training image."
    if pair.a.method != pair.b.method and pair.a.network != pair.b.network:
        yield "A and B differ in method and in network, so the difference is not the method's alone."


def costs(pair: PairedComparison) -> Iterator[list[str]]:
    """What a run cost each, mean over seeds."""
    yield ["a whole run", "A", "B", "A / B"]
    for name, (label, unit, digits) in COSTS.items():
        a, b = (fmean(run.record.costs[name] for run in pair.runs(row)) for row in (pair.a, pair.b))
        yield [label, f"{a / unit:,.{digits}f}", f"{b / unit:,.{digits}f}", f"{a / b:.2f}" if b else "-"]


def subjects_spread(scores: Scores) -> float | None:
    """The standard deviation over subjects, within site-tasks and seeds; None where a site-task has one subject."""
    several = scores.design.in_site_task.sum(0).min() > 1
    return float(np.sqrt(subject_variance(scores.values, scores.design))) if several else None


def told(p: float) -> str:
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.3g}"


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def folded(lines: Iterator[str] | Sequence[str]) -> list[str]:
    return [part for line in lines for part in wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)]


def grid(lines: Iterator[list[str]]) -> list[str]:
    """Cells in columns: words begin on the left, numbers end on the right."""
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    words = [not any(cell[:1] in "+-0123456789" for cell in column[1:] if cell) for column in columns]
    return [
        "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(line, widths, words, strict=True)
        ).rstrip()
        for line in zip(*columns, strict=True)
    ]
