"""The verbs that train."""

from __future__ import annotations

import re

import click

from .arguments import OVERRIDES, PATH, PATTERNS, RESULTS, RESULTS_OF_RUN, counted, flag, jobs, words
from .completion import choice_names
from .verb import Verb

UNITS = {"h": 3600.0, "d": 86400.0, "w": 604800.0}
STATES = ("done", "diverged", "half-finished", "failed", "damaged")


class Age(click.ParamType):
    """A number of hours, days or weeks, in seconds."""

    name = "age"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if not (found := re.fullmatch(r"(\d+)([hdw])", value)):
            self.fail(f"{value!r} is no age; 12h, 30d and 8w are", param, ctx)
        return float(found[1]) * UNITS[found[2]]


JOBS = jobs("Runs at a time (default: cores by trainer.threads, or as many as the GPUs or the engine have room for).")
METHODS = words(
    "words",
    "METHOD... [OPTION=VALUE]...",
    "Methods, or all; options of all their runs.",
    choice_names("method"),
    OVERRIDES,
    required=True,
)

RUN = Verb(
    "run",
    "running.run",
    "train one run, or with -m every combination of values",
    [
        words("overrides", "[OPTION=VALUE]...", "Options of the run, and choices of the groups.", OVERRIDES),
        flag(["-m", "--multirun"], "Run every combination of comma-separated values."),
        RESULTS_OF_RUN,
        click.Option(["--cfg"], type=click.Choice(["job"]), help="Show the configuration and train nothing."),
    ],
    about="""\b
Groups:  method, network, dataset, scenario, experiment, optimizer, schedule;
         `fedsynth list` shows the choices
Options: method.*, network.*, dataset.*, scenario.*, trainer.*, optimizer.*,
         schedule.*, seed, tracker

`fedsynth sweep` trains an experiment's grids; `run` leaves them out. With hydra/launcher=joblib hydra.launcher.n_jobs=2, -m
trains two runs at a time (pip install 'fedsynth[sweep]').""",
    examples=[
        "fedsynth run method=fedbn network=unet trainer.rounds=20 scenario=common",
        "fedsynth run -m method=fedavg,fedbn 'scenario.sites=[ixi,brats],[ixi,midas,oasis]' seed=0,1,2",
        "fedsynth run -m 'method=glob(*)' experiment=smoke",
        """fedsynth run method=local 'scenario.tasks.ixi=["T1->T2"]'""",
    ],
)
SWEEP = Verb(
    "sweep",
    "running.sweep",
    "train all cells of an experiment's grids",
    [
        words(
            "overrides",
            "OPTION=VALUE...",
            "experiment=NAME, and whatever `fedsynth run` takes.",
            OVERRIDES,
            required=True,
        ),
        JOBS,
        flag(["--dry"], "Say what is missing and how long it may take, and train nothing."),
        RESULTS_OF_RUN,
    ],
    about="""Each cell has its own process; with engine=FILE, which configures Parsl, on a cluster (docs/cluster.md). The
grids are in the experiment's file: `fedsynth list NAME`. On the command line, method=... keeps the cells of those methods; any
other option, such as seed=0,1, counts in every cell and replaces what the grids say of it. The same command goes on where a sweep
stopped, and several may work on one store at once.""",
    examples=[
        "fedsynth sweep experiment=equal_footing --dry",
        "fedsynth sweep experiment=unseen method=fedavg,fedbn --jobs 2",
    ],
    resumes=True,
)
TUNE = Verb(
    "tune",
    "running.tune",
    "give methods equally many trials, judged by validation",
    [
        METHODS,
        counted("--trials", 8, "Runs a method, the default included"),
        JOBS,
        click.Option(
            ["--write"],
            type=PATH,
            metavar="NAME",
            help="Leave each method's best options in conf/tuned/NAME.yaml, or in a file that ends in .yaml.",
        ),
        RESULTS_OF_RUN,
    ],
    about="""Each trial is first trained for a quarter of the rounds; the best quarter and the default then train for all rounds.
engine=FILE takes the trials to a cluster, as it does in `fedsynth sweep`.""",
    examples=["fedsynth tune fedavg fedprox experiment=core --trials 5 --jobs 2"],
    resumes=True,
)
COST = Verb(
    "cost",
    "running.cost",
    "measure a method alone: time, operations, memory, bytes",
    [
        METHODS,
        counted("--rounds", 3, "Rounds that count"),
        click.Option(
            ["--profile"], type=PATH, metavar="DIR", help="Write a trace and a summary of one more round there."
        ),
        RESULTS_OF_RUN,
    ],
    examples=[
        "fedsynth cost fedavg pflsynth experiment=demo",
        "fedsynth cost pflsynth experiment=demo --profile trace",
    ],
)
DEPLOY = Verb(
    "deploy",
    "running.deploy.kits",
    "train a run of hospitals, over NVIDIA FLARE or Flower",
    [
        click.Argument(["what"], type=click.Choice(["plan", "join", "serve", "train", "export"]), metavar="STEP"),
        click.Argument(["kit"], type=PATH, metavar="DIR", help="A party's kit; of plan, where the kits go."),
        words("words", "[OPTION=VALUE]...", "Of plan, the run; of join, the data set of the site.", OVERRIDES),
        click.Option(
            ["--over"],
            default="flare",
            type=click.Choice(["flare", "flower"]),
            help="Of plan, what carries the messages (default: flare).",
        ),
        click.Option(["--server"], default="localhost", metavar="HOST", help="The server's name (default: localhost)."),
        click.Option(["--port"], default=8002, type=click.IntRange(1), metavar="N", help="Its port (default: 8002)."),
        counted("--seconds", 3600, "Within which a site has to answer"),
    ],
    about="""\b
plan    makes a kit for each party, with the words of the run
join    takes part as a hospital, with data that stay there
serve   is the server, which has no data
train   lets all train, and waits until they have
export  writes what a hospital's model makes of its test subjects

docs/deploy.md takes two hospitals through all of it.""",
    examples=[
        "fedsynth deploy plan kits method=fedbn 'scenario.sites=[north,south]'",
        "fedsynth deploy join kits/fedsynth/prod_00/north dataset=prepared 'dataset.folders=[north]'",
    ],
)
PRUNE = Verb(
    "prune",
    "running.prune",
    "list runs that nobody needs any more; --yes removes them",
    [
        PATTERNS,
        flag(["--superseded"], "Runs of a method, network or data set whose code was edited since."),
        click.Option(
            ["--state", "states"],
            type=click.Choice(STATES),
            multiple=True,
            help="Runs in this state; may be given several times.",
        ),
        click.Option(["--older"], type=Age(), metavar="AGE", help="Runs not written to since: 12h, 30d, 8w."),
        flag(["--yes"], "Remove what is listed."),
        RESULTS,
    ],
    about="""Of several criteria a run must meet all. Without one, the runs that failed and those that were superseded are listed.
A run on which a process works is left alone.""",
    examples=["fedsynth prune", "fedsynth prune --state half-finished --older 30d --yes", "fedsynth prune 'fedavg-*'"],
)
