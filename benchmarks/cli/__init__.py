"""The command line: `fedsynth VERB`.

A verb's words and options are declared in this folder. Its work is `main` of the module of its name (`run` in running/run.py),
which is imported when the verb is called, so that help and completion load neither torch nor Hydra.
"""

from __future__ import annotations

import os
import shlex
import sys

import click

from fedsynth.registry import RegistryError

from ..config.errors import OptionError
from .data import PREPARE
from .extend import CHECK, LIST
from .read import COMPARE, FIGURES, LEADERBOARD, REPORT, STATUS
from .share import OUTPUTS, RECORDS
from .train import COST, DEPLOY, PRUNE, RUN, SWEEP, TUNE
from .verb import Program, hint, sentence

PROGRAM = Program(
    {
        "Train": [RUN, SWEEP, TUNE, COST, PRUNE, DEPLOY],
        "Read": [STATUS, LEADERBOARD, COMPARE, REPORT, FIGURES],
        "Data": [PREPARE],
        "Share": [RECORDS, OUTPUTS],
        "Extend": [LIST, CHECK],
    }
)


def main(argv: list[str] | None = None) -> int:
    """Do what the words say; returns the exit status. The errors that any verb may end with are told here, each in a line."""
    words = sys.argv[1:] if argv is None else argv
    command = shlex.join(["fedsynth", *words])
    try:
        status = PROGRAM.main([*words] or ["--help"], "fedsynth", standalone_mode=False, obj=command)
        sys.stdout.flush()
    except click.UsageError as error:
        _say(f"{sentence(error)}\n{hint(error)}")
        return 2
    except (RegistryError, OptionError) as error:
        _say(str(error))
        return 2
    except click.Abort:  # what click makes of Ctrl-C
        _say("interrupted")
        return 130
    except BrokenPipeError:  # who reads, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        _say(f"{error.filename2 or error.filename}: {error.strerror}; name another place, or mend that one")
        return 1
    return int(status or 0)


def _say(text: str) -> None:
    lines = f"fedsynth: {text}".split("\n")
    if not all(map(str.isprintable, lines)):
        from fedsynth.federation.names import visible  # numpy, which help and completion do without

        lines = [*map(visible, lines)]
    print("\n".join(lines), file=sys.stderr)
