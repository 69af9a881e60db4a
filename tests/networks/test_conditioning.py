"""One conditioning for every network: what it reads of the code, and that the rest of the code is nothing to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fedsynth.benchmarks.contract.toy import small
from fedsynth.federation import Columns
from fedsynth.networks.conditioning import Condition, Mapper, PersonalBlock
from fedsynth.networks.network import Generator, Role
from fedsynth.registry import NETWORKS

COLUMNS = Columns(3, 3)
READS = {Condition.none: "", Condition.site: "site", Condition.task: "task", Condition.site_task: "site task"}


def build(name: str, condition: Condition) -> Generator:
    torch.manual_seed(0)
    return replace(small(NETWORKS[name]), condition=condition).generator(COLUMNS).eval()


def code(site: int, source: int, target: int) -> torch.Tensor:
    hot = torch.zeros(1, COLUMNS.length)
    hot[0, [site, 3 + source, 6 + target]] = 1
    return hot


@pytest.mark.parametrize("condition", Condition)
@pytest.mark.parametrize("name", NETWORKS.entries())
def test_a_network_reads_what_it_is_told_to(name: str, condition: Condition) -> None:
    net = build(name, condition)
    image = torch.rand(1, 1, 32, 32) * 2 - 1
    base, site, task = (net(image, given) for given in (code(0, 0, 1), code(1, 0, 1), code(0, 0, 2)))
    assert torch.equal(base, site) is ("site" not in READS[condition])
    routes = name == "mmgan_unet"  # its channels are the contrasts, so that it always knows the task
    assert torch.equal(base, task) is ("task" not in READS[condition] and not routes)


@pytest.mark.parametrize("name", NETWORKS.entries())
def test_conditioning_is_the_only_difference(name: str) -> None:
    """The stages start with the same weights whether the code is read or not."""
    plain, told = build(name, Condition.none), build(name, Condition.site_task)
    stages = [[stage for stage in net.stages() if stage.role is not Role.conditioning] for net in (plain, told)]
    for one, other in zip(*stages, strict=True):
        assert one.role is other.role
        pairs = zip(one.module.parameters(), other.module.parameters(), strict=True)
        assert all(torch.equal(p, q) for p, q in pairs)
    parts = [type(stage.module) for stage in told.stages() if stage.role is Role.conditioning]
    assert parts[0] is Mapper
    assert set(parts[1:]) == {PersonalBlock}
    assert not any(stage.role is Role.conditioning for stage in plain.stages())


@pytest.mark.parametrize("condition", [Condition.site, Condition.task, Condition.site_task])
def test_the_mapper_has_inputs_for_what_it_reads_alone(condition: Condition) -> None:
    net = build("resnet", condition)
    (mapper,) = (module for module in net.modules() if isinstance(module, Mapper))
    first = next(mapper.parameters())
    assert first.shape[1] == {"site": 3, "task": 6, "site_task": 9}[condition.value]
