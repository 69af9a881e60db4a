"""The cells of an experiment. Each of its grids is a product of options; every cell is composed and checked before any trains.

    grids:
      - method: [fedavg, fedbn]      # a list gives a cell for each value; range(5) and glob(fed*) work as on the command line
        seed: [0, 1, 2]
      - method: pflsynth             # options of one method have a grid of their own
        method.share: [all, none]
        seed: [0, 1, 2]
        tuned: core                  # adds the options that `fedsynth tune --write` found for the method

On the command line, `method=...` keeps the cells of those methods. Any other option holds in every cell and replaces what the
grids say of it. An experiment without grids has one grid: the values that the command line sweeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from fedsynth.federation.names import text_fault

from ..records.record import run_name, texts
from .compose import composed
from .errors import OptionError
from .explain import explained
from .identity import identity, named_options
from .overrides import combinations, option_of, parse_overrides, sweep_literal
from .schema import Run
from .tuned import TUNED, Tuned


@dataclass(frozen=True)
class Cell:
    """One run, before it is trained."""

    name: str
    run: Run
    identity: dict[str, Any]
    tuning: dict[str, Any] = field(default_factory=dict)  # how its options were tuned; no trials, where nothing was

    @classmethod
    def of(cls, config: DictConfig, tuning: Mapping[str, Any] | None = None) -> Cell:
        """Raises errors of Hydra and of dataclasses, which `explained` puts into words."""
        run = Run.of(config)
        what = identity(run)
        for text in texts(what):  # before training, and not when its record is written
            if fault := text_fault(text):
                raise OptionError(
                    f"the option or name {text[:80]!r} {fault}, which no record may hold; write it without"
                )
        return cls(run_name(what), run, what, dict(tuning or {"trials": 0}))

    @property
    def asked(self) -> dict[str, Any]:
        """The identity with all options of the data set, which say where it lies: for the folder of the run alone."""
        return self.identity | {"dataset": named_options("dataset", self.run.dataset)}


def runs(words: Sequence[str], multirun: bool) -> list[Cell]:
    """The runs that `fedsynth run` trains, each once. Raises OptionError for the first one that cannot be run."""
    with explained():
        options = [as_words(own) for own in combined(words)] if multirun else [words]
        found = [Cell.of(composed(own)) for own in options]
    return [*{cell.name: cell for cell in found}.values()]


def combined(words: Sequence[str]) -> list[dict[str, str]]:
    """Option -> value, for every combination of the values that the experiment and the command line sweep."""
    given = parse_overrides(words)
    params = hydra_params(word_of(given, "experiment"))
    return combinations([*parse_overrides([f"{option}={values}" for option, values in params.items()]), *given])


def cells(words: Sequence[str]) -> list[Cell]:
    """The cells that the options of a command ask for, each run once, those of the first seed first.

    Raises OptionError for a grid or a cell that cannot be run, with its number and its options.
    """
    with explained():
        given = parse_overrides(words)
        batches = [combine(grid, given, f"grid {number}: ") for number, grid in enumerate(grids(given), 1)]
        if not any(batches):
            methods = ", ".join(word_of(given, "method"))
            raise OptionError(
                f"no grid of the experiment has {methods}; an experiment without grids, such as paper, takes any method"
            )
        found: dict[str, Cell] = {}
        for number, batch in enumerate(batches, 1):
            for cell in compose_all(batch, f"grid {number}, " if len(batches) > 1 else ""):
                found.setdefault(cell.name, cell)
    return sorted(found.values(), key=lambda cell: cell.run.seed)


def grids(given: Sequence[Override]) -> list[dict[str, Any]]:
    """The grids of the experiment that the command names. If it has none: one grid of the options that it lets Hydra sweep."""
    named = word_of(given, "experiment", "hydra.searchpath")
    known = OmegaConf.to_container(composed(named).grids)
    assert isinstance(known, list)
    for number, grid in enumerate(known, 1):
        if not isinstance(grid, dict):
            raise OptionError(f"grid {number} is {grid!r}; it must be a mapping of options to values")
    return [dict(grid) for grid in known] or [hydra_params(named)]


def hydra_params(words: Sequence[str]) -> dict[str, Any]:
    """The options that an experiment sweeps in a multirun."""
    return dict(composed(words, with_hydra=True).hydra.sweeper.params or {})


def word_of(given: Iterable[Override], *options: str) -> list[str]:
    """The overrides of these options, as they were typed."""
    return [override.input_line or "" for override in given if option_of(override) in options]


def as_words(options: Mapping[str, str]) -> list[str]:
    return [f"{option}={value}" for option, value in options.items()]


def combine(grid: dict[str, Any], given: Sequence[Override], where: str) -> list[dict[str, str]]:
    """Option -> value of each cell of a grid, before anything is composed."""
    options = {option: f"{option}={sweep_literal(values)}" for option, values in grid.items()}
    theirs = [override for override in given if option_of(override) != "method" or "method" not in options]
    kept = {option_of(override): override.input_line or "" for override in theirs}
    with explained(where):
        batch = combinations(parse_overrides([*(options | kept).values()]))
        wanted = {cell["method"] for cell in combinations(given) if "method" in cell}
    return [cell for cell in batch if not wanted or cell.get("method") in wanted]


def compose_all(batch: Sequence[dict[str, str]], where: str) -> list[Cell]:
    """The cells of a grid. Cells that differ only in the seed are composed once."""
    known: dict[tuple[str, ...], tuple[DictConfig, Tuned]] = {}
    found = []
    for cell in batch:
        own = tuple(as_words({option: value for option, value in cell.items() if option not in (TUNED, "seed")}))
        with explained(f"{where}{' '.join(as_words(cell))}: "):
            if own not in known:
                tuned = Tuned.of(cell)
                known[own] = composed([*tuned.options, *own]), tuned
            config, tuned = known[own]
            if "seed" in cell:
                config.seed = cell["seed"]
            found.append(Cell.of(config, tuned.tuning))
    return found
