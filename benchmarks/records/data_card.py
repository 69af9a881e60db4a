"""The data card of a federation: subjects, slices and intensities of each site, and how far the sites differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from fedsynth.evaluation.heterogeneity import heterogeneity
from fedsynth.federation import SPLITS, Federation, Site, Subject, Task

from .text_table import markdown_table

BINS = 40  # of a histogram of intensities, which lie in [0, 1]
SAMPLE = 64  # slices of a site whose intensities are counted, evenly spaced
ALIKE, MIDDLE, DETAIL = 0.8, (0.5, 0.6, 0.7), 64  # of agreement; of a subject's slices; pixels each way
SKULL = 0.06  # of what lies 4 to 15 mm below the surface is dark: in T1 with a skull 0.11 to 0.28, without at most 0.05
SUBJECTS, SLICES, SIDE = 20, 4, 128  # subjects of a split, slices of each and pixels each way for the look-up tables

Facts = Mapping[str, Any]


def card_facts(sites: Mapping[str, Site], volumes: Mapping[str, Sequence[Mapping[str, str]]] | None = None) -> Facts:
    """What the card says about each site, ready for JSON.

    `volumes`: site -> its lines in the index of a store, one a source volume.
    """
    return {name: _site_facts(site, (volumes or {}).get(name, [])) for name, site in sorted(sites.items())}


def _site_facts(site: Site, volumes: Sequence[Mapping[str, str]]) -> Facts:
    """What the card says about one site; `histogram` has the shares of the foreground's pixels in each bin of intensity."""
    voxels = voxel_edges(volumes)
    rows = np.unique(np.linspace(0, len(site.images) - 1, SAMPLE).astype(int))
    images, masks = np.asarray(site.images[rows], np.float32) / 2 + 0.5, np.asarray(site.masks[rows])
    counts = {c: np.histogram(images[:, i][masks], BINS, (0, 1))[0] for i, c in enumerate(site.contrasts)}
    return {
        "contrasts": list(site.contrasts),
        "subjects": {split: len(site.of(split)) for split in SPLITS},
        "slices": {split: len(site.rows(split)) for split in SPLITS},
        "size": list(site.images.shape[2:]),
        "foreground": float(masks.mean()),
        "voxels": {contrast: spread(voxels[contrast]) for contrast in site.contrasts if contrast in voxels},
        "scalp": with_scalp(volumes),
        "histogram": {c: [round(float(n), 5) for n in count / max(1, count.sum())] for c, count in counts.items()},
    }


def voxel_edges(rows: Iterable[Mapping[str, str]]) -> dict[str, list[list[float]]]:
    """Contrast -> the voxel edges of each source volume, mm, from a site's lines in the index of a store."""
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        if row["voxel_mm"]:
            found.setdefault(row["contrast"], []).append([float(edge) for edge in row["voxel_mm"].split()])
    return found


def with_scalp(volumes: Iterable[Mapping[str, str]]) -> str:
    """How many of the subjects that were made from volumes have skull and scalp, as text; "" where nobody knows."""
    found = {row["subject"]: float(dark) >= SKULL for row in volumes if (dark := row.get("dark"))}
    return f"{sum(found.values())} of {len(found)}" if found else ""


def spread(edges: Sequence[Sequence[float]]) -> str:
    """Voxel edges, mm, as text: the median of each, and its range if volumes differ."""
    table = np.asarray(edges, float)
    parts = []
    for low, middle, high in zip(table.min(0), np.median(table, 0), table.max(0), strict=True):
        parts.append(f"{middle:.3g}" + (f" ({low:.3g} to {high:.3g})" if high > 1.01 * low else ""))
    return " x ".join(parts)


def card_rows(found: Facts) -> list[dict[str, str]]:
    """The rows of the card's table, one a site."""
    return [
        {
            "site": name,
            "contrasts": ", ".join(own["contrasts"]),
            **{split: f"{own['subjects'][split]} ({own['slices'][split]})" for split in SPLITS},
            "pixels": " x ".join(map(str, own["size"])),
            "foreground": f"{own['foreground']:.0%}",
            "with scalp": own.get("scalp") or "-",
            "source voxels, mm": "; ".join(_shared_voxels(own["voxels"])) or "-",
        }
        for name, own in found.items()
    ]


def _shared_voxels(voxels: Mapping[str, str]) -> Iterator[str]:
    """The voxel edges, each preceded by the contrasts that have them."""
    for edges in dict.fromkeys(voxels.values()):
        yield f"{', '.join(contrast for contrast in voxels if voxels[contrast] == edges)} {edges}"


def shift(sites: Mapping[str, Site]) -> list[dict[str, Any]]:
    """How far the sites differ: `heterogeneity` of every task that two or more sites could have, from a part of their slices.

    Each task is taken by itself, so that the table of all sites is of one task, and the gap is due to differences between the
    sites and not to conflicting targets.
    """
    thinned = {name: thin(site) for name, site in sorted(sites.items())}
    tasks = sorted({Task(*pair) for site in sites.values() for pair in permutations(site.contrasts, 2)})
    found: list[dict[str, Any]] = []
    for task in tasks:
        able = {name: (task,) for name, site in thinned.items() if set(task.contrasts) <= set(site.contrasts)}
        if len(able) > 1:
            found += heterogeneity(Federation({name: thinned[name] for name in able}, able))
    return sorted(found, key=lambda row: (row["site"], row["task"]))


class Alike(NamedTuple):
    """Two subjects whose images of a contrast agree as those of one person do."""

    contrast: str
    one: tuple[str, str]  # site and subject
    other: tuple[str, str]
    agreement: float  # the correlation of fine detail, at most 1


def alike(sites: Mapping[str, Site]) -> list[Alike]:
    """The pairs of subjects, of one site or of two, that may be one person under two names, the most alike first.

    The fine detail of three slices around the middle is compared, where folds of the cortex are: scans of different people agree
    up to 0.7 on real heads, a scan with noise, shading, a crop or other voxels agrees with itself from 0.75 on, mostly above 0.9.
    """
    found: dict[tuple[tuple[str, str], tuple[str, str]], Alike] = {}
    for contrast in sorted({contrast for site in sites.values() for contrast in site.contrasts}):
        able = {
            (name, subject.name): _detail(site, contrast, subject)
            for name, site in sites.items()
            for subject in site.subjects
            if contrast in site.contrasts
        }
        for shape in {detail.shape for detail in able.values()}:
            who = [key for key, detail in able.items() if detail.shape == shape]
            table = np.stack([able[key] for key in who])
            agreement = np.triu(table @ table.T, 1)
            for i, k in np.argwhere(agreement > ALIKE).tolist():
                found.setdefault((who[i], who[k]), Alike(contrast, who[i], who[k], float(agreement[i, k])))
    return sorted(found.values(), key=lambda pair: -pair.agreement)


def _detail(site: Site, contrast: str, subject: Subject) -> np.ndarray:
    """What is finer than some two of 64 pixels in three slices of a subject, as one vector of length 1."""
    own = np.arange(subject.slices.start, subject.slices.stop)
    rows = own[[round(share * (len(own) - 1)) for share in MIDDLE]]
    step = max(1, min(site.images.shape[2:]) // DETAIL)
    image = np.asarray(site.images[rows, site.contrasts.index(contrast)], np.float32)
    image = uniform_filter(image, (0, step, step))[:, ::step, ::step]
    fine = (image - gaussian_filter(image, (0, 2, 2))) * np.asarray(site.masks[rows])[:, ::step, ::step]
    length = float(np.linalg.norm(fine))
    return fine.ravel() / (length or 1)


def thin(site: Site) -> Site:
    """A part of a site: at most SUBJECTS subjects of a split, SLICES slices of each, and every k-th pixel of large slices."""
    step = -(-max(site.images.shape[2:]) // SIDE)
    kept: list[Subject] = []
    rows: list[int] = []
    for split in SPLITS:
        for subject in site.of(split)[:SUBJECTS]:
            own = np.unique(np.linspace(subject.slices.start, subject.slices.stop - 1, SLICES).astype(int)).tolist()
            kept.append(Subject(subject.name, split, slice(len(rows), len(rows) + len(own))))
            rows += own
    return Site(
        site.name,
        site.contrasts,
        site.images[rows][..., ::step, ::step],
        site.masks[rows][..., ::step, ::step],
        tuple(kept),
    )


def card_markdown(title: str, found: Facts, differ: Iterable[Mapping[str, Any]], notes: Sequence[str] = ()) -> str:
    """The card as Markdown. It shows the picture card.png, which lies beside it."""
    table = card_rows(found)
    shifts = [
        {
            "site": row["site"],
            "task": row["task"],
            "source itself": f"{row['copy_source']:.2f}",
            "own table": f"{row['own_table']:.2f}",
            "all sites' table": f"{row['pooled_table']:.2f}",
            "gap": f"{row['gap']:.2f}",
        }
        for row in differ
    ]
    parts = [
        f"# {title}",
        *notes,
        "Subjects (slices) in each split:",
        _table(table),
        "![intensities](card.png)",
    ]
    if shifts:
        parts += [
            "## How far the sites differ",
            "PSNR, in dB, on the test subjects. A table from source to target intensity is fitted on the site's own training"
            f" subjects (at most {SUBJECTS} subjects of a split, {SLICES} slices of each), another on those of all sites that"
            " could have the task. The gap between them is what no map of intensities that is the same at all sites can express.",
            _table(shifts),
        ]
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    cells = [list(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(markdown_table(cells))
