"""Flat vectors, their bytes and their mean against numpy; memory; distance and inner product against autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedsynth.exchange import ContractError, Memory, Message, Place, Plan, VectorLayout, distance, inner

WEIGHTS = (3.0, 5.0, 0.1, 7.0)


def nets(*tasks: str) -> nn.ModuleDict:
    """A net with parameters, float and integer buffers, and one a task, of different sizes."""
    torch.manual_seed(len(tasks))
    judges = nn.ModuleDict({task: nn.Linear(2, 2) for task in tasks})
    return nn.ModuleDict({"generator": nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), "discriminators": judges})


def tensors(of: nn.ModuleDict) -> dict[str, Tensor]:
    return dict(of.named_parameters()) | dict(of.named_buffers())


def everything(place: Place) -> bool:
    return True


@pytest.fixture(name="both")
def plan_of_both() -> Plan:
    return Plan(nets("A->B", "B->A"), everything)


# --- layout ----------------------------------------------------------------------------------------------------------


def test_parameters_and_buffers_are_apart_and_integers_stay(both: Plan) -> None:
    assert list(both.model.offsets) == [
        *(f"generator.{name}" for name in ("0.weight", "0.bias", "1.weight", "1.bias")),
        *(f"discriminators.{task}.{name}" for task in ("A->B", "B->A") for name in ("weight", "bias")),
    ]
    assert list(both.buffers.offsets) == ["generator.1.running_mean", "generator.1.running_var"]
    assert (both.model.lengths, both.model.numel) == ((6, 2, 2, 2, 4, 2, 4, 2), 24)
    assert both.model.offsets["generator.1.bias"] == (10, 12, (2,))


def test_a_vector_is_the_tensors_end_to_end(both: Plan) -> None:
    held = tensors(nets("A->B", "B->A"))
    vector = both.model.pack(held)
    expected = np.concatenate([held[path].detach().numpy().ravel() for path in both.model.offsets])
    assert np.array_equal(vector.numpy(), expected)
    vector.zero_()
    assert held["generator.0.weight"].abs().sum() > 0  # a copy, without a graph
    assert not vector.requires_grad


def test_a_single_tensor_is_copied_too() -> None:
    net = nn.ModuleDict({"generator": nn.Linear(2, 2, bias=False)})
    vector = Plan(net, everything).model.pack(tensors(net))
    vector.zero_()
    assert tensors(net)["generator.weight"].abs().sum() > 0


def test_unpacking_undoes_packing_in_place(both: Plan) -> None:
    target = tensors(nets("A->B", "B->A"))
    addresses = {name: tensor.data_ptr() for name, tensor in target.items()}
    vector = torch.arange(24.0)
    both.model.unpack(vector, target)
    assert torch.equal(both.model.pack(target), vector)
    assert target["generator.0.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert {name: tensor.data_ptr() for name, tensor in target.items()} == addresses


def test_a_part_is_a_view(both: Plan) -> None:
    vector = torch.zeros(24)
    both.model.part(vector, "discriminators.A->B.weight").fill_(1)
    assert vector.nonzero().ravel().tolist() == [12, 13, 14, 15]


def test_what_a_site_lacks_is_as_received_or_zero_and_is_not_written(both: Plan) -> None:
    one = tensors(nets("B->A"))
    received = torch.arange(24.0)
    assert both.model.pack(one)[12:18].tolist() == [0] * 6
    assert both.model.pack(one, received)[12:18].tolist() == received[12:18].tolist()
    assert torch.equal(both.model.pack(one, received)[18:22], one["discriminators.B->A.weight"].detach().ravel())
    both.model.unpack(received, one)
    assert one["discriminators.B->A.bias"].tolist() == [22, 23]


def test_an_empty_plan_has_vectors_of_length_zero() -> None:
    net = nets("A->B")
    plan = Plan(net, lambda place: False)
    vector = plan.model.pack(tensors(net))
    plan.model.unpack(vector, tensors(net))
    assert vector.shape == plan.model.where(everything, vector.device).shape == (0,)
    assert plan.model.mean(zip([vector, vector], [1, 2], [frozenset[str]()] * 2, strict=True), vector).shape == (0,)
    assert plan.nbytes(Message(model=vector, weight=3), frozenset()) == 0


def test_a_mask_marks_the_places_of_a_rule(both: Plan) -> None:
    mask = both.model.where(lambda place: isinstance(place.owner, nn.BatchNorm1d), torch.device("cpu"))
    assert mask.dtype == torch.bool
    assert mask.nonzero().ravel().tolist() == [8, 9, 10, 11]


# --- bytes -----------------------------------------------------------------------------------------------------------


def test_bytes_are_numel_times_item_size(both: Plan) -> None:
    held = frozenset(tensors(nets("A->B", "B->A")))
    message = Message(model=torch.zeros(24), buffers=torch.zeros(4, dtype=torch.float64), weight=7, choice=1.5)
    assert both.nbytes(message, held) == 24 * 4 + 4 * 8
    assert both.nbytes(Message(mask=torch.zeros(5, dtype=torch.bool), marks=torch.zeros(2, 3)), held) == 5 + 24


def test_what_a_site_lacks_is_not_counted(both: Plan) -> None:
    one = frozenset(tensors(nets("B->A")))
    assert both.nbytes(Message(model=torch.zeros(24), buffers=torch.zeros(4)), one) == (18 + 4) * 4
    assert both.nbytes(Message(models=torch.zeros(3, 24)), one) == 3 * 18 * 4


# --- mean ------------------------------------------------------------------------------------------------------------


def held_by(*tasks: str) -> frozenset[str]:
    return frozenset(tensors(nets(*tasks)))


HOLDERS = [held_by("A->B", "B->A"), held_by("A->B"), held_by("B->A"), held_by("A->B")]


def test_mean_is_numpys(both: Plan) -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 24)).astype(np.float32)
    mean = both.model.mean(zip(torch.from_numpy(vectors), WEIGHTS, [HOLDERS[0]] * 4, strict=True), torch.zeros(24))
    expected = np.average(vectors.astype(np.float64), axis=0, weights=WEIGHTS)
    assert mean.dtype == torch.float32
    np.testing.assert_array_equal(mean.numpy(), expected.astype(np.float32))


def test_weights_are_renormalised_over_those_who_have_it(both: Plan) -> None:
    vectors = np.random.default_rng(1).normal(size=(4, 24)).astype(np.float32)
    mean = both.model.mean(zip(torch.from_numpy(vectors), WEIGHTS, HOLDERS, strict=True), torch.zeros(24)).numpy()
    for part, sites in ((slice(0, 12), [0, 1, 2, 3]), (slice(12, 18), [0, 1, 3]), (slice(18, 24), [0, 2])):
        weights = [WEIGHTS[site] for site in sites]
        expected = np.average(vectors[sites, part].astype(np.float64), axis=0, weights=weights)
        np.testing.assert_allclose(mean[part], expected, rtol=1e-7, atol=0)


def test_what_nobody_has_keeps_its_value(both: Plan) -> None:
    vectors = [torch.full((24,), float("nan")) for _ in range(2)]
    for vector in vectors:
        vector[:12] = 1
        vector[18:] = 2
    mean = both.model.mean(zip(vectors, [1, 3], [held_by("B->A")] * 2, strict=True), torch.full((24,), 9.0))
    assert mean.tolist() == [1] * 12 + [9] * 6 + [2] * 6


@pytest.mark.parametrize("holders", [HOLDERS, [HOLDERS[0]] * 4], ids=["some", "all"])
@pytest.mark.parametrize("weights", [WEIGHTS, (1, 1, 1, 1), (0.1, 0.2, 0.3, 0.7), (2780, 2500, 3874, 1)])
def test_equal_vectors_keep_every_bit(both: Plan, holders: list[frozenset[str]], weights: tuple[float, ...]) -> None:
    vector = torch.from_numpy(np.random.default_rng(2).normal(size=24).astype(np.float32)) * 1e-3
    for _ in range(20):
        mean = both.model.mean(zip([vector] * 4, weights, holders, strict=True), torch.zeros(24))
        assert torch.equal(mean, vector)


def test_parameters_and_buffers_of_one_length_are_not_mistaken() -> None:
    # a method that shares norms alone: as many running statistics as weights and biases, held by different sites
    def norms(*tasks: str) -> nn.ModuleDict:
        return nn.ModuleDict({task: nn.BatchNorm1d(2) for task in tasks})

    plan = Plan(norms("A->B", "B->A"), everything)
    assert plan.model.numel == plan.buffers.numel == 8
    held = [frozenset(tensors(norms("A->B"))), frozenset(tensors(norms("B->A")))]
    vectors = [torch.full((8,), 1.0), torch.full((8,), 5.0)]
    for layout in (plan.model, plan.buffers):
        mean = layout.mean(zip(vectors, [1, 1], held, strict=True), torch.zeros(8))
        assert mean.tolist() == [1, 1, 1, 1, 5, 5, 5, 5]


# --- messages --------------------------------------------------------------------------------------------------------


def test_a_message_arrives_as_a_copy() -> None:
    vector = torch.zeros(3)
    sent = Message(model=vector, weight=2, c=vector[:2])
    arrived = sent.delivered()
    arrived.model.fill_(1)
    arrived.tensor("c").fill_(2)
    assert vector.tolist() == [0, 0, 0]
    assert (arrived["weight"], arrived.model.tolist()) == (2, [1, 1, 1])


def test_a_number_is_not_a_tensor() -> None:
    with pytest.raises(TypeError, match=r"message\['model'\] is the number 3, not a tensor"):
        _ = Message(model=3).model


# --- memory ----------------------------------------------------------------------------------------------------------


def test_memory_writes_in_place_where_shape_and_type_hold() -> None:
    memory = Memory()
    memory["c"] = torch.zeros(3)
    address = memory.tensor("c").data_ptr()
    memory["c"] = torch.ones(3)
    memory.update(c=torch.full((3,), 2.0))
    assert memory.tensor("c").tolist() == [2, 2, 2]
    assert memory.tensor("c").data_ptr() == address
    memory["c"] = torch.ones(4)
    assert memory.tensor("c").shape == (4,)
    memory["c"] = torch.ones(4, dtype=torch.int64)
    assert memory.tensor("c").dtype == torch.int64


@pytest.mark.parametrize("put", [lambda m, v: m.__setitem__("c", v), lambda m, v: m.setdefault("c", v)])
def test_memory_keeps_a_copy_without_a_graph(put: Any) -> None:
    memory, given = Memory(), torch.zeros(3, requires_grad=True)
    put(memory, given)
    with torch.no_grad():
        given += 1
    assert memory.tensor("c").tolist() == [0, 0, 0]
    assert not memory.tensor("c").requires_grad


def test_memory_takes_tensors_and_numbers_under_names_and_nothing_else() -> None:
    memory = Memory()
    memory.update(count=1, share=0.5, flag=True)
    for value in (nn.Linear(1, 1), [1.0], None, "text", np.zeros(3)):
        with pytest.raises(ContractError, match="tensors and plain numbers only"):
            memory["x"] = value
    with pytest.raises(ContractError, match="a key of memory is a string"):
        memory[1] = 1.0
    assert dict(memory) == {"count": 1, "share": 0.5, "flag": True}
    with pytest.raises(TypeError, match=r"memory\['count'\] is the number 1, not a tensor"):
        memory.tensor("count")


def test_memory_is_put_back_as_it_was() -> None:
    memory = Memory()
    memory.update(c=torch.arange(3.0), count=1, gone=2)
    address = memory.tensor("c").data_ptr()
    before = memory.snapshot()
    memory.update(c=torch.ones(3), count=5, new=torch.ones(1))
    del memory["gone"]
    memory.restore(before)
    assert memory.tensor("c").tolist() == [0, 1, 2]
    assert memory.tensor("c").data_ptr() == address
    assert {key: memory[key] for key in memory if key != "c"} == {"count": 1, "gone": 2}
    memory["c"] = torch.zeros(3)
    assert before["c"].tolist() == [0, 1, 2]


# --- distance and inner product --------------------------------------------------------------------------------------


def pairs() -> tuple[list[Tensor], list[Tensor]]:
    stream = torch.Generator().manual_seed(0)
    shapes = ((3, 2), (4,), (1,), (2, 2, 2), ())
    parameters = [torch.randn(s, generator=stream, dtype=torch.float64).requires_grad_() for s in shapes]
    return parameters, [torch.randn(s, generator=stream, dtype=torch.float64) for s in shapes]


def naive_distance(parameters: list[Tensor], vectors: list[Tensor]) -> Tensor:
    return sum(((p - v) ** 2).sum() for p, v in zip(parameters, vectors, strict=True)) / 2


def naive_inner(parameters: list[Tensor], vectors: list[Tensor]) -> Tensor:
    return sum((p * v).sum() for p, v in zip(parameters, vectors, strict=True))


@pytest.mark.parametrize(("fast", "naive"), [(distance, naive_distance), (inner, naive_inner)])
def test_value_and_gradient_are_those_of_the_plain_formula(fast: Any, naive: Any) -> None:
    parameters, vectors = pairs()
    value, expected = (f * 3.0 for f in (fast(zip(parameters, vectors, strict=True)), naive(parameters, vectors)))
    torch.testing.assert_close(value, expected, rtol=1e-14, atol=0)
    slopes = [torch.autograd.grad(v, parameters) for v in (value, expected)]
    for slope, wanted in zip(*slopes, strict=True):
        torch.testing.assert_close(slope, wanted, rtol=1e-14, atol=0)
    assert torch.autograd.gradcheck(lambda *ps: fast(zip(ps, vectors, strict=True)), parameters)


@pytest.mark.parametrize("fast", [distance, inner])
def test_a_second_derivative_is_refused_rather_than_wrong(fast: Any) -> None:
    parameters, vectors = pairs()
    loss = (fast(zip(parameters, vectors, strict=True)) * 1.0).square()
    slope = torch.autograd.grad(loss, parameters[0], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_the_gradient_of_inner_is_the_vector_itself() -> None:
    weight, vector = torch.randn(5, requires_grad=True), torch.randn(5)
    inner([(weight, vector)]).backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, vector)


def test_nothing_shared_costs_nothing() -> None:
    assert distance([]) == inner([]) == 0.0


def test_an_unknown_layout_is_a_layout_of_nothing() -> None:
    assert VectorLayout((), ()).numel == 0
