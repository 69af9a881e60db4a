"""A report of a folder before it is prepared: who is complete, what is missing, whether headers are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fedsynth.federation import FederationError, contrast_order
from fedsynth.federation.names import visible
from fedsynth.runtime.progress import ProgressBar

from ..volumes import examine
from .survey import LeftOut, Survey
from .walk import walk

EXAMPLES = 5  # that are shown of a list


@dataclass(frozen=True)
class Report:
    """What lies in a folder; its text is the report."""

    label: str  # of the data set
    folder: Path
    documented: str  # what the data set's makers say that it holds
    found: Survey
    unmatched: tuple[Path, ...]  # files that the layout does not describe
    grids: dict[tuple[str, str], Counter[str]]  # (site, contrast) -> grid -> how many volumes have it
    damaged: tuple[LeftOut, ...]  # volumes whose header or length is wrong, with the reason

    @property
    def good(self) -> bool:
        """Whether all subjects can be used, as far as headers tell."""
        return not self.found.left_out and not self.damaged

    def __str__(self) -> str:
        found = self.found
        total = sum(map(len, found.complete.values()))
        lines = [f"{self.label} in {self.folder}: {len(found.matched)} volumes, {total} complete subjects"]
        if self.documented:
            lines.append(f"documented: {self.documented}")
        for site, counts in sorted(found.found.items()):
            own = found.complete.get(site, {})
            lines.append(
                f"site {site}: {len(own)} complete with {', '.join(found.contrasts.get(site, ())) or 'nothing'}"
            )
            for contrast in contrast_order(counts):
                count = counts[contrast]
                note = (
                    ""
                    if contrast in found.contrasts.get(site, ())
                    else ", which is not used because most subjects lack it"
                )
                grids = self.grids.get((site, contrast), Counter()).most_common()
                shown = "; ".join(f"{n} of {grid}" for grid, n in grids[:3]) + ("; ..." if len(grids) > 3 else "")
                lines.append(f"  {contrast}: {count} subjects{note}{': ' if shown else ''}{shown}")
        if found.excluded:
            lines.append(f"{sum(found.excluded.values())} subjects are left out by dataset.exclude")
        lines += _listed("subjects that are not complete", [str(one) for one in found.left_out])
        lines += _listed(
            "volumes that cannot be read", [f"site {o.site}, subject {o.subject}: {o.reason}" for o in self.damaged]
        )
        names = [path.relative_to(self.folder).as_posix() for path in self.unmatched]
        lines += _listed("files that the layout does not describe", names)
        return "\n".join(lines)


def verify_volumes(label: str, folder: Path, found: Survey, volume: int | None, documented: str) -> Report:
    """Read the header of every volume of a complete subject; `volume` is the index of the one to take from 4-D files."""
    used = {part for path in found.matched for part in ([path] if not path.is_dir() else path.iterdir())}
    unmatched = tuple(path for path in walk(folder) if path not in used)
    grids: dict[tuple[str, str], Counter[str]] = {}
    damaged = []
    volumes = [
        (who, contrast, path)
        for own in found.complete.values()
        for who in own.values()
        for contrast, path in who.volumes.items()
    ]
    for who, contrast, path in ProgressBar(volumes, "reading headers", unit="volume"):
        try:
            grid = examine(path, volume)
        except FederationError as error:
            damaged.append(LeftOut(who.site, who.subject, str(error)))
        else:
            edges = " x ".join(f"{edge:.3g}" for edge in grid.spacing)
            shape = " x ".join(map(str, grid.shape))
            grids.setdefault((who.site, contrast), Counter())[f"{shape} voxels of {edges} mm"] += 1
    return Report(label, folder, documented, found, unmatched, grids, tuple(damaged))


def _listed(title: str, lines: Iterable[str]) -> list[str]:
    """The title with the number of lines, and the first few of them; nothing if there are none."""
    every = list(lines)
    more = [f"  and {len(every) - EXAMPLES} more"] if len(every) > EXAMPLES else []
    return [f"{title}: {len(every)}", *(f"  {visible(line)}" for line in every[:EXAMPLES]), *more] if every else []
