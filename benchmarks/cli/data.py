"""The verb that prepares data."""

from __future__ import annotations

from .arguments import flag, jobs, out, words
from .completion import any_folder, overrides
from .verb import Verb

PREPARE = Verb(
    "prepare",
    "data.prepare",
    "make arrays of volumes, with pictures and a data card",
    [
        words(
            "words",
            "dataset=NAME [FOLDER] [OPTION=VALUE]...",
            "The data set, the folder of its data, its options.",
            overrides("dataset"),
            any_folder,
        ),
        jobs("Processes that share the subjects (default: 1).", default=1),
        out("Where the arrays go (default: prepared/NAME-HASH; for a layout: dataset.out)."),
        flag(["--verify"], "Prepare nothing; say what lies in the folder (without dataset=: by any layout)."),
    ],
    about="A command that was killed goes on when it is given again. `fedsynth run` then uses the arrays.",
    examples=["fedsynth prepare dataset=ixi IXI --jobs 4", "fedsynth prepare --verify FOLDER"],
)
