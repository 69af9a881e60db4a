"""The options that tuning found for methods, and how they were tuned.

    tuning: {trials: 5, seed: 100, first_rounds: 2, rounds: 6, local_steps: 96, scenario: common, cohort: null, data: {ixi: 5145}}
    fedprox: [trainer.lr=0.00859, method.mu=0.00488]

`tuning` is the same for all methods of a file: how many trials each had, and of a trial its seed, the rounds by which the best
were chosen, which then had all rounds, the fewest local steps that a site trained in these, and on which subjects: scenario,
cohort and the fingerprints of the data. A run with the options of such a file records it (`Record.tuning`), and a table tells it
(tables/caption.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import OptionError, spelling_hint
from .own_files import conf_files

TUNED, HOW = "tuned", "tuning"  # the option of a grid, and the entry of a file that is no method


@dataclass(frozen=True)
class Tuned:
    """What tuning found for a method, and how."""

    options: list[str]
    tuning: dict[str, Any]

    @classmethod
    def of(cls, cell: Mapping[str, str]) -> Tuned:
        """For the method of a cell, from its option `tuned`: a name in conf/tuned, a .yaml file, or null. Raises OptionError."""
        file = cell.get(TUNED, "null")
        if file == "null":
            return cls([], {})
        place, method = tuned_file(file), cell.get("method", "")
        found = _read(place)
        methods = [name for name in found if name != HOW]
        if method not in methods:
            raise OptionError(
                f"{TUNED}={file} has no method {method!r}; there are {', '.join(methods)}; {TUNED}=null does without"
            )
        return cls(found[method], {"file": place.stem, "options": found[method]} | found.get(HOW, {}))


def tuned_file(name: str) -> Path:
    """The file of tuned options: one's own, a built-in one, or one at a path. Raises OptionError if there is none."""
    known = conf_files(TUNED)
    place = Path(name) if name.endswith(".yaml") else known.get(name, Path(TUNED, f"{name}.yaml"))
    if not place.is_file():
        hint = "" if name.endswith(".yaml") else f"; {spelling_hint(name, known, 'there are')}"
        raise OptionError(
            f"there is no {place}{hint}; `fedsynth tune METHOD ... --write` makes it, and {TUNED}=null does without"
        )
    return place


def _read(place: Path) -> dict[str, Any]:
    """Method -> options, and how they were tuned, as `fedsynth tune --write` leaves them. Raises OptionError."""
    try:
        content = yaml.safe_load(place.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise OptionError(f"{place} cannot be read: {error}") from error
    kinds = {HOW: dict}
    if not isinstance(content, dict) or not all(
        isinstance(own, kinds.get(name, list)) for name, own in content.items()
    ):
        raise OptionError(
            f"{place} must be a mapping of methods to lists of OPTION=VALUE; `{HOW}` says how they were tuned"
        )
    return content
