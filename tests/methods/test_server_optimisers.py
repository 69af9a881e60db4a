"""The servers' rules, and FedProx: where they are FedAvg to the bit, what they refuse, and what they do with holes in vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pytest
from support import federations
from support.federations import resnet, uneven

from fedsynth.exchange import Place, VectorLayout
from fedsynth.method import Method
from fedsynth.methods.fedadagrad import FedAdagrad
from fedsynth.methods.fedadam import FedAdam
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedavgm import FedAvgM
from fedsynth.methods.fednova import FedNova
from fedsynth.methods.fedprox import FedProx
from fedsynth.methods.fedyogi import FedYogi
from fedsynth.networks.blocks import Norm
from fedsynth.trainer import Trainer

# Where they are FedAvg


SIZES = {"brats": 2, "ixi": 5, "oasis": 3}  # training subjects of two slices
trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=uneven(SIZES), rounds=4)


def rounds_of(of: Trainer, count: int = 3) -> list[tuple[np.ndarray, list[np.ndarray], list[int], np.ndarray]]:
    """The server's model before a round, the models and slices of those who took part, and the server's model after it."""
    found = []
    for round in range(1, count + 1):
        before = of.server.model.double().numpy().copy()
        of.round(round)
        present = [of.sites[name] for name in of.participants(round)]
        models = [site.pack().double().numpy() for site in present]
        found.append((before, models, [site.samples for site in present], of.server.model.double().numpy().copy()))
    return found


def test_without_momentum_it_is_fedavg() -> None:
    for momentum, same in ((0.0, True), (0.5, False)):
        _, models, slices, after = rounds_of(trainer(FedAvgM(momentum=momentum)))[-1]
        assert np.allclose(after, np.average(models, axis=0, weights=slices), rtol=1e-5, atol=1e-6) is same


def test_fednova_with_equal_steps_is_fedavg_to_the_bit() -> None:
    ours, plain = (rounds_of(trainer(method)) for method in (FedNova(), FedAvg()))
    np.testing.assert_array_equal(ours[-1][-1], plain[-1][-1])


@pytest.mark.slow
@pytest.mark.parametrize("norm", Norm)
def test_fedprox_without_a_pull_is_fedavg_to_the_bit(norm: Norm) -> None:
    digests = []
    for method in (FedProx(mu=0.0), FedAvg(), FedProx(mu=1.0)):
        digests.append(federations.trainer(method, resnet(norm=norm)).run().digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: FedProx(mu=-1), r"method\.mu is -1"),
        (lambda: FedAvgM(momentum=1), r"method\.momentum is 1"),
        (lambda: FedAdam(beta2=1.5), r"method\.beta2 is 1\.5"),
        (lambda: FedYogi(tau=0), r"method\.tau is 0"),
    ],
)
def test_an_impossible_option_is_named(make: Callable[[], Method], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


# Everything travels, the discriminators too, so that the flat vectors have holes: a site holds those of its own tasks only


State = dict[str, np.ndarray]
Move = Callable[[State, np.ndarray], np.ndarray]


def momentum(state: State, d: np.ndarray) -> np.ndarray:
    state["v"] = 0.9 * state.get("v", np.zeros_like(d)) - d
    return -state["v"]


def adaptive(beta1: float, rule: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Move:
    def move(state: State, d: np.ndarray) -> np.ndarray:
        state["m"] = beta1 * state.get("m", np.zeros_like(d)) + (1 - beta1) * d
        state["v"] = rule(state.get("v", np.full_like(d, 1e-6)), d)
        return 0.01 * state["m"] / (np.sqrt(state["v"]) + 1e-3)

    return move


CASES: list[tuple[Method, Move]] = [
    (FedAvgM(), momentum),
    (FedAdam(), adaptive(0.9, lambda v, d: 0.99 * v + 0.01 * d**2)),
    (FedYogi(), adaptive(0.9, lambda v, d: v - 0.01 * d**2 * np.sign(v - d**2))),
    (FedAdagrad(), adaptive(0.0, lambda v, d: v + d**2)),
    (FedNova(), lambda _, d: d),
]


holes_trainer = partial(
    federations.trainer,
    network=resnet(dropout=0.0, norm=Norm.batch),
    sites=uneven({"brats": 2, "ixi": 5, "oasis": 3}),  # training subjects of two slices: as many local steps
    rounds=4,
    participation=0.67,
    local_steps=0,
    local_epochs=1.0,
)


def mean(of: Trainer, layout: VectorLayout, changes: Mapping[str, np.ndarray]) -> tuple[np.ndarray, set[int]]:
    """Mean by slices over the sites that hold a tensor, 0 where none does; and by how many sites tensors are held."""
    found, holders = np.zeros(layout.numel), set()
    for path, (start, stop, _) in layout.offsets.items():
        names = [name for name in changes if path in of.sites[name].held]
        holders.add(len(names))
        if names:
            rows, slices = [changes[n][start:stop] for n in names], [of.sites[n].samples for n in names]
            found[start:stop] = np.average(rows, axis=0, weights=slices)
    return found, holders


def scales(of: Trainer, names: Sequence[str]) -> dict[str, float]:
    """FedNova's tau / a_k, over those who took part."""
    slices, steps = [of.sites[n].samples for n in names], [of.sites[n].steps for n in names]
    return dict(zip(names, np.average(steps, weights=slices) / np.array(steps), strict=True))


@pytest.mark.parametrize(("method", "move"), CASES, ids=[type(method).__name__ for method, _ in CASES])
def test_the_rule_holds_with_holes_and_absent_sites(
    method: Method, move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything(_: Method, place: Place) -> bool:
        return True

    monkeypatch.setattr(Method, "travels", everything)
    of, state, seen = holes_trainer(method), State(), set()
    for round in range(1, 4):
        model, buffers = of.server.model.double().numpy().copy(), of.server.buffers.double().numpy().copy()
        of.round(round)
        names = of.participants(round)
        seen.add(tuple(names))
        scale = scales(of, names) if isinstance(method, FedNova) else dict.fromkeys(names, 1.0)
        d, holders = mean(
            of, of.plan.model, {n: scale[n] * (of.sites[n].pack().double().numpy() - model) for n in names}
        )
        assert holders == {0, 1, 2}
        np.testing.assert_allclose(of.server.model.double().numpy(), model + move(state, d), rtol=1e-4, atol=1e-6)
        d, _ = mean(of, of.plan.buffers, {n: of.sites[n].pack_buffers().double().numpy() - buffers for n in names})
        np.testing.assert_allclose(of.server.buffers.double().numpy(), buffers + d, rtol=1e-5, atol=1e-7)
        assert np.abs(d).max() > 1e-3
    assert len(seen) > 1
