"""One sentence over a table: who leads, by how much, and is it settled."""

from __future__ import annotations

from collections.abc import Sequence

from .metric import Metric
from .row import Row

ASIDE = ("pooled",)  # it trains on everybody's images, so it leads no comparison of federated methods


def headline(rows: Sequence[Row], metric: Metric, not_ranked: Sequence[str]) -> str:
    """`rows`: of a table, the best first, with their ranks; `not_ranked`: why they have none."""
    whole = [row for row in rows if row.matrix and not row.diverged and not row.left]
    rivals = [row for row in whole if row.identity["method"]["name"] not in ASIDE]
    if not rivals:
        return "Nobody leads: no method has every seed and no diverged one."
    one_network = len({row.network for row in rows}) == 1
    names = [row.method if one_network else row.full_name for row in rivals]
    ahead = _ahead(rivals, names, metric)
    if all(row.below_lookup for row in rivals):
        return f"Nobody leads: no row reaches the look-up table, which needs no training; {ahead}."
    if not_ranked:
        others = len(not_ranked) - 1
        more = f"; {others} more reason{'s' * (others > 1)}" if others else ""
        return f"{ahead}; it is not settled ({not_ranked[0].partition(' (')[0]}{more})."
    level = [name for row, name in zip(rivals[1:], names[1:], strict=True) if row.rank and row.rank[0] == 1]
    if level:
        return f"{ahead}; not shown to differ from it: {', '.join(level)}."
    return f"{ahead}, and every other row is shown to be worse: that is settled."


def _ahead(rivals: Sequence[Row], names: Sequence[str], metric: Metric) -> str:
    """The best row, its score, and how far it is from the second."""
    means = [metric.sign * row.scores[metric.column].mean for row in rivals[:2]]
    text = f"{names[0]} has the best {metric.heading} with {metric.plain(means[0])}{metric.unit}"
    if len(rivals) == 1:
        return text
    ahead = round(means[0] - means[1], metric.digits)  # of rows with one printed mean, names decide the order
    return f"{text}, {metric.spread(ahead)} ahead of {names[1]}" if ahead > 0 else f"{text}, level with {names[1]}"
