"""`fedsynth run`: Hydra composes the runs, `run.job` executes each; whatever goes wrong ends in one message."""

from __future__ import annotations

import os
import re
import sys
from difflib import get_close_matches

import hydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from fedsynth.exchange import ContractError
from fedsynth.federation import FederationError
from fedsynth.registry import METHODS, RegistryError

from .config import PUBLISHED, register
from .run import RunFailed, job


def main(argv: list[str]) -> int:
    """Run what the overrides say. 0 if every run has its record now, 1 if one failed, 2 if nothing could be composed."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here and not as Hydra's tracebacks
    sys.argv = ["fedsynth run", *argv]
    try:
        register()
        for origin, reason in METHODS.broken().items():
            print(f"fedsynth: {origin} failed to load: {reason}", file=sys.stderr)
        hydra.main("pkg://fedsynth.conf", "config", version_base="1.3")(job)()
    except RunFailed as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 1
    except (FederationError, RegistryError, ContractError) as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    except (HydraException, OmegaConfBaseException) as error:
        print(f"fedsynth: {explain(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fedsynth: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    return 0


def explain(error: Exception) -> str:
    """What an override got wrong, with the nearest names."""
    cause = error.__cause__ or error
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        choices = [option for option in error.options if not option.startswith(PUBLISHED)]
        near = get_close_matches(name, choices, cutoff=0.5) or choices
        return f"no {group} {name!r}; {'the nearest are' if near != choices else 'there are'} {', '.join(near)}"
    if found := re.search(r"Key '(.*?)' not in '(.*?)'", str(cause)):
        parent = getattr(cause, "parent_node", None)
        keys = [str(key) for key in parent] if parent is not None else []
        near = get_close_matches(found[1], keys, cutoff=0.5) or keys
        return (
            f"{getattr(cause, 'full_key', found[1])}: {found[2]} has no option {found[1]!r}; it has {', '.join(near)}"
        )
    lines = [line.strip() for line in f"{error}\n{cause}".splitlines() if line.strip()]
    return "\n  ".join(dict.fromkeys(line for line in lines if "object_type" not in line))
