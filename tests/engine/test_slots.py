"""Sites take turns in slots, several at a time or one after another, offloaded in memory or on the disk: it changes no number."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.federations import federation, options, resnet, trainer
from support.probes import Everything, facts, local

from fedsynth.benchmarks.contract.toy import ToyFederation, blobs
from fedsynth.exchange import Memory, Message
from fedsynth.method import Method
from fedsynth.methods.ditto import Ditto
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.local import Local
from fedsynth.methods.pflsynth import PFLSynth
from fedsynth.networks.blocks import Norm
from fedsynth.registry import METHODS
from fedsynth.runtime import checkpoint
from fedsynth.runtime.options import Offload
from fedsynth.server.uploads import Uploads
from fedsynth.trainer import Trainer
from fedsynth.trainer.model import MODEL

CPU = torch.device("cpu")
SAME = dict.fromkeys(("brats", "ixi", "midas", "oasis"), ("T1->T2",))


def in_turns(
    method: Method, width: int = 1, tasks: dict[str, tuple[str, ...]] | None = None, **given: object
) -> Trainer:
    sites = federation(tasks=tasks) if tasks else federation()
    of = trainer(method, resnet(norm=Norm.batch), sites, zoom=1.1, local_steps=2, **given)
    of.side_by_side = width
    return of


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [None, SAME], ids=["four kinds of nets", "one kind of nets"])
def test_turns_change_no_number(tasks: dict[str, tuple[str, ...]] | None) -> None:
    given = {"tasks": tasks, "rounds": 3, "participation": 0.75}
    whole = facts(in_turns(Everything(), **given, resident=4).run())
    for resident, width, offload in (
        (1, 1, Offload.host),
        (1, 1, Offload.disk),
        (2, 2, Offload.disk),
        (4, 4, Offload.host),
    ):
        turns = in_turns(Everything(), width, **given, resident=resident, offload=offload)
        assert facts(turns.run()) == whole, (resident, width, offload)


def test_a_start_of_its_own_is_found_again() -> None:
    whole, turns = (in_turns(PFLSynth(), common_start=False, resident=resident).run() for resident in (4, 1))
    assert facts(turns) == facts(whole)


def test_as_many_slots_as_are_asked_for() -> None:
    of = in_turns(Method(), tasks=SAME, resident=2)
    slots = {id(of.sites[name].slot) for _ in range(2) for name in of.sites}
    assert len(slots) == 2


def test_sites_with_other_nets_have_other_slots() -> None:
    of = in_turns(Method(), resident=1)
    for _ in range(2):
        for site in of.sites.values():
            assert set(site.nets["discriminators"]) == {str(task) for task in site.tasks}
    assert len(of.slots) == 4


def test_nobody_takes_the_slot_of_a_site_at_work() -> None:
    """With two kinds of nets and room for two slots, two sites of one kind train side by side."""
    tasks = {"brats": ("T1->T2",), "ixi": ("T2->PD",), "midas": ("T1->T2",), "oasis": ("T2->PD",)}
    runs = [
        in_turns(Ditto(), width, tasks=tasks, resident=resident).run() for width, resident in ((1, 4), (2, 2), (4, 2))
    ]
    assert facts(runs[0]) == facts(runs[1]) == facts(runs[2])


def test_nothing_that_was_read_ahead_is_left_over() -> None:
    of = in_turns(Everything(), tasks=SAME, rounds=3, resident=2, offload=Offload.disk)
    of.run()
    assert not of.offload._coming  # reading ahead shows nowhere else


def test_memory_lies_on_its_device_whatever_is_put_into_it() -> None:
    memory = Memory(torch.device("meta"))
    memory["v"] = torch.ones(3)
    assert memory.tensor("v").device.type == "meta"


def test_addresses_hold_while_sites_take_turns() -> None:
    """What a recorded step reads and writes stays where it is."""
    of = in_turns(Everything(), tasks=SAME, resident=1, rounds=3)
    seen = set()
    for round in (1, 2, 3):
        for name, site in of.sites.items():
            local(of, name, round)
            slot = site.slot
            state = [t for made in slot.optimizers.values() for entry in made.state.values() for t in entry.values()]
            memory = [value for value in slot.memory.values() if isinstance(value, torch.Tensor)]
            slot.received = received = of.server.model
            assert slot.received is not received
            seen.add(tuple(t.data_ptr() for t in (*slot.tensors.values(), *state, *memory, slot.received)))
    assert len(seen) == 1


def test_memory_that_was_taken_out_comes_back_at_its_address() -> None:
    memory = Memory()
    memory["v"] = torch.ones(3)
    address = memory.tensor("v").data_ptr()
    memory.restore({"n": 1})
    assert dict(memory) == {"n": 1}
    memory["v"] = torch.full((3,), 2.0)
    assert memory.tensor("v").data_ptr() == address
    assert memory.tensor("v").tolist() == [2, 2, 2]


def test_a_state_is_kept_while_anything_needs_it(tmp_path: Path) -> None:
    sites = federation(tasks=SAME)
    of = trainer(Method(), sites=sites, folder=tmp_path, rounds=3, resident=1, offload=Offload.disk)
    of.run()
    kept = {path.name for path in (tmp_path / "sites").iterdir()}
    rounds = {3, of.state.best_round}
    assert kept == {
        f"{n}-round-{r}-{part}.safetensors" for n in range(4) for r in rounds for part in ("weights", "optimizers")
    }


def served_again(made: Callable[[], Trainer]) -> dict[str, set[str]]:
    """Train, keep the model alone, and serve it in a new trainer, which must score as the selected round did. Returns the paths
    of each site's tensors in the model."""
    first = made()
    outcome = first.run()
    first.save_model()
    model = first.folder / MODEL
    for path in (path for path in first.folder.iterdir() if path != model):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = made()
    again.serve_selected()
    selected = [row for row in outcome.scores if row["selection"] == "selected"]
    again_selected = again.score("test")
    assert repr([{"selection": "selected"} | row for row in again_selected]) == repr(selected)
    return {name: set(own["tensors"]) for name, own in checkpoint.load(model, CPU)["sites"].items()}


def toy_run(method: type[Method], folder: Path, **given: object) -> Callable[[], Trainer]:
    toy = ToyFederation.of(method)
    return lambda: Trainer(toy.method, toy.network, blobs(), replace(toy.options, resident=2, **given), 0, folder)


def test_one_file_is_what_a_finished_run_serves_with(tmp_path: Path) -> None:
    """Of a site it has what the server does not send: every site of pFLSynth left all of its nets, and the server its copy."""
    left = {}
    for method in (FedAvg, PFLSynth, Local):
        made = toy_run(method, tmp_path / method.__name__)
        sites = made().sites
        for name, paths in served_again(made).items():
            generator = {path for path in sites[name].tensors if path.startswith("generator.")}
            assert paths == generator - sites[name].held
            left[method] = len(paths)
    assert left[FedAvg] == 0 < min(left[PFLSynth], left[Local])


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS.entries())
def test_the_model_of_every_method_serves_as_its_selected_round_did(name: str, tmp_path: Path) -> None:
    served_again(toy_run(METHODS[name], tmp_path, validate_every=1))


@pytest.mark.parametrize("offload", Offload)
def test_uploads_come_in_the_order_of_names_from_wherever_they_wait(offload: Offload, tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "uploads", options(resident=1, offload=offload), CPU)
    sent = {name: Message(model=torch.tensor([float(ord(name))]), weight=ord(name)) for name in "cab"}
    for name, message in sent.items():
        uploads.add(name, message)
    assert list(uploads) == ["a", "b", "c"]
    assert len(uploads) == 3
    assert {name: (float(m.model), m["weight"]) for name, m in uploads.items()} == {n: (ord(n), ord(n)) for n in "abc"}
    assert (tmp_path / "uploads").exists() is (offload is Offload.disk)
    uploads.clear()
    assert not uploads
    assert not (tmp_path / "uploads").exists()


def test_a_disk_that_fills_up_is_an_error_and_not_a_wrong_state(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, tree: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    of = in_turns(Method(), tasks=SAME, resident=1, offload=Offload.disk)
    local(of, "brats", 1)
    monkeypatch.setattr(checkpoint, "save", full)
    local(of, "ixi", 1)  # brats leaves for the disk meanwhile
    with pytest.raises(OSError, match="No space left"):
        local(of, "brats", 1)
