"""The verbs for what leaves a laboratory or comes into it: records, and what trained models synthesise."""

from __future__ import annotations

from pathlib import Path

import click

from .arguments import PATH, PATTERNS, RESULTS, RUNS, out
from .verb import Verb, Verbs

PACK = Verb(
    "pack",
    "share.pack",
    "put records of finished runs into one file for others",
    [
        click.Argument(["file"], type=PATH, metavar="FILE.zip", help="The file to be written; it must not exist."),
        PATTERNS,
        RESULTS,
    ],
    about="The same runs make the same file, byte for byte. Checkpoints and images stay where they are. Before the file is"
    " written you are told what it gives away (docs/privacy.md).",
    examples=["fedsynth records pack ours.zip '*-variable-*'"],
)
MERGE = Verb(
    "merge",
    "share.merge",
    "check others' records and take them into this store",
    [
        click.Argument(
            ["sources"],
            nargs=-1,
            required=True,
            type=PATH,
            metavar="FILE.zip|FOLDER...",
            help="Packed records, or a folder with runs at any depth.",
        ),
        RESULTS,
    ],
    about="""What was edited, cut short or renamed is refused by name, and so is a run that is here with other content; the others
are taken. An interrupted merge leaves no run half, and the same command goes on.""",
    examples=["fedsynth records merge theirs.zip"],
)
VERIFY = Verb(
    "verify",
    "share.verify",
    "check others' records, and train some of their runs again",
    [
        click.Argument(["source"], type=PATH, metavar="FILE.zip|FOLDER", help="A pack, a store or a published table."),
        PATTERNS,
        click.Option(
            ["--rerun"], type=click.IntRange(0), default=1, metavar="K", help="Runs to train again (default: 1)."
        ),
        click.Option(
            ["--draw"], type=int, metavar="N", help="Number by which they are drawn (default: another each time)."
        ),
        click.Option(
            ["--data"],
            multiple=True,
            metavar="OPTION=VALUE",
            help="Where data that are not simulated lie here, such as folders=[prepared/ixi].",
        ),
    ],
    about="""Records are checked as merge checks them, and none is taken. A run that was trained again is compared: on the same
processor and torch, each tensor and score must be the same bit for bit, else the mean PSNR within a tolerance: each run says
which. The status is 0 if every record is whole and every run that was drawn came out again.""",
    examples=["fedsynth records verify theirs.zip --rerun 3", "fedsynth records verify theirs.zip 'fedbn-*' --rerun 2"],
)
PUBLISH = Verb(
    "publish",
    "share.publish",
    "put a table and its records into a folder to publish",
    [
        click.Argument(["name"], metavar="NAME", help="Of the folder, such as equal_footing."),
        PATTERNS,
        RESULTS,
        click.Option(
            ["--out"], type=PATH, default=Path("results"), metavar="DIR", help="Where NAME is to be (default: results)."
        ),
        click.Option(
            ["--part"],
            is_flag=True,
            help="Only runs that are not there yet, as an archive of their own: a sweep goes on.",
        ),
    ],
    about="""OUT/NAME gets the records, scores and curves of the runs in one archive, the tables made of them and a README to be
written by hand, of which only the passages that are made from records are written again. Checkpoints, images and logs stay where
they are. Without --part, the archives that are there become one. You are told before what this gives away (docs/privacy.md).""",
    examples=["fedsynth records publish equal_footing '*-variable-*'"],
)
PAGES = Verb(
    "pages",
    "share.passages",
    "write anew the sentences of pages that follow from records",
    [
        click.Argument(
            ["pages"], nargs=-1, required=True, type=PATH, metavar="PAGE.md...", help="Markdown, changed in place."
        ),
    ],
    about="""A passage begins with a comment, which a reader of the page does not see, and ends at the next empty line:
<!-- records: compare pflsynth fedbn -->. It is made from the tables of the records beside the page, or in another folder:
<!-- records of results/unseen: newcomers -->. The statements are setting, standing, headlines, newcomers, across, compare A B...
and options METHOD.OPTION... .""",
    examples=["fedsynth records pages results/equal_footing/README.md"],
)
EXPORT = Verb(
    "export",
    "inference.export",
    "write what runs synthesise as NIfTI volumes",
    [
        RUNS,
        RESULTS,
        out("Where the volumes go (default: RESULTS/volumes)."),
        click.Option(
            ["--root"],
            type=PATH,
            metavar="DIR",
            help="Where the source volumes are now, if they were moved since they were prepared.",
        ),
    ],
    examples=["fedsynth outputs export 'fedbn-*'"],
)
FEATURES = Verb(
    "features",
    "inference.features",
    "score runs as LPIPS and FID do, by a network of yours",
    [
        RUNS,
        click.Option(
            ["--network"],
            type=PATH,
            required=True,
            metavar="FILE",
            help="TorchScript, or .pt2 of torch.export: images [B,3,H,W] in [0,1] to a list of feature maps and features"
            " [B,D].",
        ),
        RESULTS,
        out("Where the scores go (default: RESULTS/features.csv)."),
    ],
    about="""They are no part of a run: they are taken, later, of what its selected round synthesises for the test subjects. The
trained model is where the run was trained; it does not travel with the record.""",
    examples=["fedsynth outputs features 'fedbn-*' --network features.pt"],
)
RECORDS = Verbs("records", [PACK, MERGE, VERIFY, PUBLISH, PAGES], "pack, merge, verify, publish, pages: finished runs")
OUTPUTS = Verbs("outputs", [EXPORT, FEATURES], "export, features: what trained models synthesise")
