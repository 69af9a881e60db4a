"""What tests of the engine share: a method that leans on every part of the contract, and what two equal runs agree in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fedsynth.exchange import Message
from fedsynth.feed import Batch
from fedsynth.losses import l1
from fedsynth.method import Method
from fedsynth.server import Server
from fedsynth.site import SiteState
from fedsynth.step import Pairs
from fedsynth.trainer import Outcome, Trainer
from fedsynth.trainer.outcome import curve_row

TIMED = ("seconds", "matrix_rate", "floor_share", "peak_memory_bytes")


def facts(outcome: Outcome) -> dict[str, Any]:
    """All that a repeated, resumed or reordered run must reproduce to the last bit: everything but time and memory."""
    pictures = {
        f"{cell} {name}": hashlib.sha256(image.tobytes()).hexdigest()
        for cell, images in outcome.gallery.items()
        for name, image in images.items()
    }
    return {
        "status": (outcome.status, outcome.reason, outcome.selected_round, outcome.policy),
        "scores": [repr(row) for row in outcome.scores],
        "curve": [repr(untimed(row)) for row in outcome.curve],
        "costs": untimed(outcome.costs),
        "digest": outcome.digest,
        "gallery": pictures,
    }


def untimed(costs: Mapping[str, Any]) -> dict[str, Any]:
    """The costs that do not depend on the machine."""
    return {name: value for name, value in costs.items() if not any(word in name for word in TIMED)}


def local(of: Trainer, site: str, round: int) -> None:
    """One site's part of a round, whose upload is not aggregated."""
    party, sent = of.parties[site], list[Message]()
    steps = of.participants.steps(site, party.full, round)
    for _ in party.train(curve_row(round, site), steps, lambda: of.server_party.download(site), sent.append):
        pass


@dataclass
class Everything(Method):
    """Two phases, an anchor and a correction in the step; memory at both ends; an extra up and down; local data and noise in
    `receive`; before serving, training and a shrinkage by the round's learning rate."""

    mu: float = 0.1

    def phase(self, site: SiteState, k: int) -> str:
        return "pulled" if k % 2 else "free"

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            if site.phase == "pulled" and player == "generator":
                yield player, loss + self.mu * site.distance(player, site.memory.tensor("anchor"))
            else:
                yield player, loss + site.inner(player, site.memory.tensor("drift"))

    def receive(self, site: SiteState, message: Message) -> None:
        super().receive(site, message)
        site.memory["anchor"] = message.model
        site.memory["drift"] = message.tensor("drift")
        with site.training(True), torch.no_grad():
            [batch] = site.draw("look", 1)
            site.memory["level"] = float(l1(site.nets["generator"](batch.source, batch.code), batch.target))

    def upload(self, site: SiteState) -> Message:
        site.memory["uploads"] = int(site.memory.get("uploads", 0)) + 1
        return Message(super().upload(site), change=(site.pack() - site.memory.tensor("anchor")) * site.memory["level"])

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        super().aggregate(server, uploads)
        server.memory["drift"] = server.mean(uploads, "change")

    def download(self, server: Server, name: str) -> Message:
        drift = server.memory.get("drift", torch.zeros_like(server.model))
        return Message(super().download(server, name), drift=drift)

    def personalise(self, site: SiteState) -> None:
        site.load(site.pack() * (1 - site.lr))
        site.fit(1)
