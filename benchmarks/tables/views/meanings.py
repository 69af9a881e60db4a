"""What the columns of a table mean, a sentence or two each: what the page tells at a heading."""

from __future__ import annotations

from ...stats.validation_curve import LIMITED
from ..metric import Metric
from ..row import SHOWN
from ..table import Table
from .columns import OVER_FEDAVG

MEAN = "The mean over a subject's slices, then over subjects, then over site-tasks, then over seeds."
SHIPPED = "What trains in one place sends its training and validation images there, once."
LOCAL = "`local` on the same network, its best row where it has several"
ANYWHERE = "How often so large a gain over `local` or `fedavg` would be anywhere in a table of equal methods."
MEANINGS = {
    "rank": "The place in the order, as an interval: what the table cannot tell apart shares places.",
    "method": "The method, with the options that differ from its defaults.",
    "network": "The generator.",
    "buffers": "How the running statistics of the normalisation travel.",
    "flags": "What must be known before the row is compared with others.",
    "seeds": "How many of the table's seeds have a finished run.",
    "diverged": "How many seeds diverged. A diverged run is scored as the mean training image.",
    "below floor": "How many seeds ended with a validation PSNR below that of copying the source.",
    "groups": "Rows that share a letter are not shown to differ (all pairs of the table, at 5 % for all of them together).",
    "gain": (
        f"The difference in METRIC to {LOCAL}; above 0 the row is better. * where it is not 0, at 5 % for all gains over `local` "
        "and over `fedavg` together; without *: not shown to differ, or below the look-up table."
    ),
    "gain +-": "Half of the 95 % interval of the gain, from paired differences, for other seeds and other subjects.",
    "gain p": ANYWHERE,
    OVER_FEDAVG: (
        "The difference in METRIC to `fedavg` on the same network, its best row where it has several; above 0 the row is better. "
        "* as at the gain: both are of one family."
    ),
    f"{OVER_FEDAVG} +-": "Half of the 95 % interval of the difference to `fedavg`, as that of the gain.",
    f"{OVER_FEDAVG} p": ANYWHERE,
    "effect": "The gain divided by its standard deviation over subjects.",
    "sites gaining": "The share of sites whose gain is above 0.",
    "gap closed": "The gain as a share of the gain of `pooled`, where that is significantly above 0 (5 %).",
    "worst site": "The site that the row serves worst, by METRIC.",
    "worst site's": "The mean METRIC at the site that the row serves worst, and which that is.",
    "sd over sites": "The standard deviation over sites of the mean METRIC; lower is fairer.",
    "worst 5 %": "The mean METRIC over the worst 5 % of a seed's subjects.",
    "rising": (
        "The gain in validation PSNR, in dB, over the last quarter of the rounds: the slope of a least-squares line, the mean "
        f"over seeds. A row that rises by more than {LIMITED:g} is limited by its budget."
    ),
    "rounds to local": f"The rounds until the validation PSNR reaches that of {LOCAL}; the mean over seeds.",
    "MB to local": f"The MB that all sites send, up and down, until the validation PSNR reaches that of {LOCAL}.",
    "PSNR at equal MB": "The best validation PSNR within the bytes of the row that sends fewest (none, and images, aside).",
    "MB": f"10^6 bytes of a whole run, all sites, up and down. {SHIPPED}",
    "MB up": f"10^6 bytes that a site sends in a round. {SHIPPED}",
    "MB down": "10^6 bytes that a site is sent in a round.",
    "parameters (M)": "Millions of parameters of a site's generator.",
    "travelling (M)": "Millions of parameters of the generator that travel.",
    "gradient evaluations (k)": "Thousands of backward passes of a whole run, all sites.",
    "seconds a round": "The median over seeds. Indicative: other runs may have shared the machine.",
    "peak memory (MB)": "Indicative: other runs may have shared the machine.",
}


def column_meanings(table: Table) -> dict[str, str]:
    """The meaning of each column by its name; a column that is not here needs no words."""
    scores = {}
    for name in dict.fromkeys((table.metric.column, *SHOWN)):
        metric = Metric.of(name)
        head = metric.heading
        scores[head] = f"{metric.sentence} {MEAN}"
        scores[f"{head} sd"] = f"The standard deviation over seeds of the mean {head}."
        scores[f"{head} +-"] = (
            f"Half of the 95 % interval of {head}, for other seeds and other subjects at these sites: two-way random effects of "
            "seeds and subjects."
        )
    head = table.metric.heading
    return {name: text.replace("METRIC", head) for name, text in MEANINGS.items()} | scores
