"""The cells of an experiment: each of its grids is a product of options, and every cell is composed and checked first.

    grids:
      - method: [fedavg, fedbn]      # a list: one cell for each; seed: range(5) and method: glob(fed*) as on a command line
        seed: [0, 1, 2]
      - method: pflsynth             # options of one method have a grid of their own
        method.share: [all, none]
        seed: [0, 1, 2]
        tuned: core                  # and those that `fedsynth tune --write` found for each method

Of the command line, `method=...` keeps the cells of those methods; any other option counts in every cell and takes the place of
what grids say of it. An experiment without grids is one grid of what the command line sweeps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_module
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fedsynth.exchange import ContractError
from fedsynth.registry import RegistryError

from .errors import OptionError, explain
from .identity import identity, name
from .schema import Run

TUNED = "tuned"


@dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    name: str
    run: Run
    identity: dict[str, Any]


def cells(words: Sequence[str]) -> list[Cell]:
    """The cells that the overrides of a command ask for, each run once, those of the first seed first.

    Raises OptionError for a grid or a cell that cannot be, with its number and its options.
    """
    try:
        with initialize_config_module("fedsynth.conf", version_base="1.3"):
            found = gather(parse(words))
    except (HydraException, OmegaConfBaseException) as error:
        raise OptionError(explain(error)) from error
    return sorted(found.values(), key=lambda cell: cell.run.seed)


def gather(given: Sequence[Override]) -> dict[str, Cell]:
    """All cells by name."""
    batches = [combine(grid, given, f"grid {number}: ") for number, grid in enumerate(grids(given), 1)]
    if not any(batches):
        methods = ", ".join(text(override) for override in given if key(override) == "method")
        raise OptionError(
            f"no grid of the experiment has {methods}; an experiment without grids, such as paper, takes any method"
        )
    found: dict[str, Cell] = {}
    for number, batch in enumerate(batches, 1):
        for cell in compose_all(batch, f"grid {number}, " if len(batches) > 1 else ""):
            found.setdefault(cell.name, cell)
    return found


def grids(given: Sequence[Override]) -> list[dict[str, Any]]:
    """Those of the experiment that the command names, else the options that it sweeps for Hydra, as one grid."""
    named = [text(override) for override in given if key(override) in ("experiment", "hydra.searchpath")]
    config = compose("config", named, return_hydra_config=True)
    known = OmegaConf.to_container(config.grids)
    assert isinstance(known, list)
    for number, grid in enumerate(known, 1):
        if not isinstance(grid, dict):
            raise OptionError(f"grid {number} is {grid!r}; it must be a mapping of options to values")
    return [dict(grid) for grid in known] or [dict(config.hydra.sweeper.params or {})]


def combine(grid: dict[str, Any], given: Sequence[Override], where: str) -> list[dict[str, str]]:
    """Option -> value of each cell of a grid, before anything is composed."""
    options = {option: f"{option}={choice(values)}" for option, values in grid.items()}
    kept = {key(override): text(override) for override in given if key(override) != "method" or "method" not in options}
    try:
        batch = split(parse([*(options | kept).values()]))
        wanted = {cell["method"] for cell in split(given) if "method" in cell}
    except HydraException as error:
        raise OptionError(f"{where}{explain(error)}") from error
    return [cell for cell in batch if not wanted or cell.get("method") in wanted]


def compose_all(batch: Sequence[dict[str, str]], where: str) -> list[Cell]:
    """The cells of a grid; what differs by the seed alone is composed once."""
    composed: dict[tuple[str, ...], DictConfig] = {}
    found = []
    for cell in batch:
        words = [f"{option}={value}" for option, value in cell.items()]
        own = tuple(f"{option}={value}" for option, value in cell.items() if option not in (TUNED, "seed"))
        try:
            if own not in composed:
                composed[own] = compose("config", [*tuned(cell), *own])
            if "seed" in cell:
                composed[own].seed = cell["seed"]
            run = Run.of(composed[own])
            what = identity(run)
        except (HydraException, OmegaConfBaseException) as error:
            raise OptionError(f"{where}{' '.join(words)}: {explain(error)}") from error
        except (ValueError, RegistryError, ContractError) as error:  # of options, scenario or data
            raise OptionError(f"{where}{' '.join(words)}: {error}") from error
        found.append(Cell(name(what), run, what))
    return found


def tuned(cell: dict[str, str]) -> list[str]:
    """What tuning found for the method of a cell that has `tuned`: a name in conf/tuned, a path that ends in .yaml, or null."""
    file = cell.get(TUNED, "null")
    if file == "null":
        return []
    found, method = read_tuned(file), cell.get("method", "")
    if method not in found:
        raise OptionError(
            f"{TUNED}={file} has no method {method!r}; there are {', '.join(found)}; {TUNED}=null does without"
        )
    return found[method]


@cache
def read_tuned(file: str) -> dict[str, list[str]]:
    """Method -> overrides, as `fedsynth tune --write` leaves them. Raises OptionError for what is no such file."""
    place = Path(file) if file.endswith(".yaml") else files("fedsynth.conf").joinpath(TUNED, f"{file}.yaml")
    if not place.is_file():
        raise OptionError(
            f"there is no {place}; `fedsynth tune METHOD ... --write` makes it, and {TUNED}=null does without"
        )
    try:
        content = yaml.safe_load(place.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise OptionError(f"{place} cannot be read: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(words, list) for words in content.values()):
        raise OptionError(f"{place} must be a mapping of methods to lists of OPTION=VALUE")
    return content


def parse(words: Sequence[str]) -> list[Override]:
    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()).parse_overrides([*words])


def split(overrides: Sequence[Override]) -> list[dict[str, str]]:
    """Option -> value of every combination of what the overrides sweep."""
    (batch,) = BasicSweeper.split_arguments([*overrides], max_batch_size=None)
    return [dict(word.partition("=")[::2] for word in words) for words in batch]


def choice(values: Any) -> str:
    """A grid's values in Hydra's grammar: a text as it is, a list as a choice."""
    if isinstance(values, list):
        return ",".join(map(written, values))
    return values if isinstance(values, str) else written(values)


def written(value: Any) -> str:
    """One value in Hydra's grammar."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{written(name)}:{written(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str) and not (re.fullmatch(r"[\w./-]+", value) and yaml.safe_load(value) == value):
        return QuotedString(value, Quote.single).with_quotes()
    return str(value)


def kept_in(results: Path | None) -> list[str]:
    """The override for the folder of the results, if one was given."""
    return [f"results={written(str(results))}"] if results else []


def key(override: Override) -> str:
    """The option that an override is about."""
    return override.get_key_element().lstrip("+~")


def text(override: Override) -> str:
    return override.input_line or ""
