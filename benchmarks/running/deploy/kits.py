"""`fedsynth deploy`: a run is agreed on, every party gets a kit, and each works from its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, cast

from ...config.errors import OptionError
from ...inference.export import write_volumes
from ...inference.synthesis import synthesised
from .parties import HospitalSite, agreed_run, warning
from .work import AGREED, REFUSED, agreed_in, folder_of

PACKAGES = {"flare": "nvflare", "flower": "flwr"}  # of what carries messages, which is also the name of a module here


class Carrier(Protocol):
    """What carries the messages of a run, as each party begins it."""

    def make(self, out: Path, names: Sequence[str], server: str, port: int) -> Mapping[str, Path]: ...
    def join(self, kit: Path) -> int: ...
    def serve(self, kit: Path) -> int: ...
    def train(self, kit: Path, names: Sequence[str]) -> str: ...


def carrier(name: str) -> Carrier:
    """What carries the messages.

    Raises:
        OptionError: Its package is not installed.
    """
    package = PACKAGES[name]
    if not find_spec(package):
        extra = {"flwr": "flower"}.get(package, package)
        raise OptionError(f"--over {name} needs a package that is not installed: pip install 'fedsynth[{extra}]'")
    return cast(Carrier, getattr(import_module(f".{name}", __package__), name.capitalize()))


def main(what: str, kit: Path, words: Sequence[str], over: str, server: str, port: int, seconds: int) -> int:
    """Do what is asked with a kit; 1 if the run was refused or did not end well.

    Raises OptionError for a run that cannot be deployed.
    """
    kit = kit.resolve()
    if what == "plan":
        return plan(kit, words, over, server, port, seconds)
    if what == "join":
        return join_run(kit, words)
    if what == "serve":
        return carrier(agreed_in(kit)["over"]).serve(kit)
    return begin_run(kit) if what == "train" else export(kit)


def plan(out: Path, words: Sequence[str], over: str, server: str, port: int, seconds: int) -> int:
    """Make a kit for every party, with its keys and the words of the run."""
    means, run = carrier(over), agreed_run(words)
    if told := warning(run):
        print(f"fedsynth: {told}")
    out.mkdir(parents=True, exist_ok=True)
    kits = means.make(out, run.scenario.roster().names, server, port)
    for kit in kits.values():
        agreed = {"words": [*words], "own": [], "seconds": seconds, "over": over}
        (kit / AGREED).parent.mkdir(exist_ok=True)
        (kit / AGREED).write_text(json.dumps(agreed, indent=1))
    print(f"wrote a kit for each of {', '.join(kits)} to {next(iter(kits.values())).parent}")
    return 0


def join_run(kit: Path, words: Sequence[str]) -> int:
    """Take part with data of one's own, until the server is told to end."""
    given = agreed_in(kit)
    if odd := [word for word in words if not word.lstrip("+").startswith(("dataset=", "dataset."))]:
        raise OptionError(
            f"{odd[0]}: the options of the run are agreed on; a site chooses its data set alone, dataset..."
        )
    run = agreed_run([*given["words"], *words])
    if told := warning(run):
        print(f"fedsynth: {told}")
    with TemporaryDirectory() as folder:  # what fails, fails before the others wait for it
        HospitalSite(run, kit.name, Path(folder))
    (kit / AGREED).write_text(json.dumps(given | {"own": [*words], "where": str(Path.cwd())}, indent=1))
    return carrier(given["over"]).join(kit)


def begin_run(kit: Path) -> int:
    """Let the parties train, and wait until they have."""
    given = agreed_in(kit)
    wrong = carrier(given["over"]).train(kit, agreed_run(given["words"]).scenario.roster().names)
    print(f"{wrong}; {REFUSED} or the log of the server says why" if wrong else "all have trained")
    return int(bool(wrong))


def export(kit: Path) -> int:
    """Write what the site's model makes of its test subjects, as volumes, below `volumes` in its kit."""
    given = agreed_in(kit)
    run = agreed_run([*given["words"], *given["own"]])
    hospital = HospitalSite(run, kit.name, folder_of(kit, given["words"]))
    with hospital.serving() as site:
        count = write_volumes(run.dataset, [kit.name], synthesised(site), kit / "volumes")
    print(f"wrote {count} volumes to {kit / 'volumes'}")
    return 0
