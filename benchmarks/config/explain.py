"""Whatever is wrong with a command, and whoever notices it, becomes one error with one message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from fedsynth.exchange import ContractError
from fedsynth.registry import RegistryError

from .errors import PUBLISHED, OptionError, spelling_hint
from .own_files import own_folder

LAUNCHERS = "pip install 'fedsynth[sweep]' for joblib, pip install hydra-submitit-launcher for SLURM"


@contextmanager
def explained(where: str = "") -> Iterator[None]:
    """Inside, what Hydra, an option, a scenario, the data or a folder finds wrong is raised as an OptionError in plain words,
    which begin with `where`. The command line tells it and ends with status 2."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise OptionError(f"{where}{explain(error)}") from error
    except YAMLError as error:
        raise OptionError(f"{where}{explain_yaml(error)}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise OptionError(f"{where}{unreadable_file() or error}") from error
    except (ValueError, OSError, RegistryError, ContractError) as error:
        raise OptionError(f"{where}{error}") from error


def explain_yaml(error: YAMLError) -> str:
    """What is wrong with a file of options, and where."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:  # of a character that no YAML may have
        return f"{getattr(error, 'name', 'a file of options')}: {' '.join(str(error).split())}; delete the character"
    problem = getattr(error, "problem", "") or "no YAML"
    advice = "a text with special characters needs quotes, a tab is no indentation, and a key stands once"
    return f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: {problem}; correct the file: {advice}"


def unreadable_file() -> str:
    """Which of one's own files cannot be read as text, or refers to itself; empty where none."""
    for path in own_folder().glob("*/*.yaml"):
        try:
            OmegaConf.load(path)
        except (UnicodeDecodeError, RecursionError) as error:
            what = (
                "refers to itself"
                if isinstance(error, RecursionError)
                else f"is no UTF-8 ({error.reason} at {error.start})"
            )
            return f"{path} {what}; correct the file"
        except (YAMLError, OmegaConfBaseException, OSError):
            continue
    return ""


def explain(error: Exception) -> str:
    """What an override got wrong, with the nearest names, from Hydra's or OmegaConf's error."""
    cause = error.__cause__ or error.__context__ or error
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}; a text with special characters needs quotes of its own: 'key=[\"T1->T2\"]'"
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        choices = [option for option in error.options if not option.startswith(PUBLISHED)]
        more = f"; others are in packages: {LAUNCHERS}" if group == "hydra/launcher" else ""
        return f"no {group} {choice!r}; {spelling_hint(choice, choices, 'there are')}{more}"
    if found := re.search(r"Key '(.*?)' not in '(.*?)'", str(cause)):
        parent = getattr(cause, "parent_node", None)
        key, owner = getattr(cause, "full_key", found[1]), "a run" if found[2] == "Schema" else found[2]
        keys = [str(key) for key in parent or ()]
        file = re.match("In '(.*?)'", str(error))
        by = f", which {file[1]} sets" if file else ""
        return f"{key}{by}: {owner} has no option {found[1]!r}{'; ' if keys else ''}{spelling_hint(found[1], keys, 'it has')}"
    if found := re.search(r"override trainer\.(optimizer|schedule)=(\S*)", str(error)):
        choice = f"{found[1]}={found[2]}"
        return f"trainer.{choice}: it is chosen by {choice}, and its options are {found[1]}.OPTION=VALUE"
    if "is not in struct" in str(cause):
        key = getattr(cause, "full_key", "")
        return f"{key}: there is no such entry; to add it, write +{key}=..."
    lines = [line.strip() for line in f"{error}\n{cause}".splitlines() if line.strip()]
    return "\n  ".join(dict.fromkeys(line for line in lines if not re.match("(object|reference)_type=", line)))
