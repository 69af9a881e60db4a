"""Fine-tuning before serving: plain FedAvg and FedBABU, whose head learns only then, against plain torch."""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from support import federations
from support.federations import resnet
from support.plain import PlainSite, generator_loss, judge_loss, mean, write
from torch import Tensor, nn

from fedsynth.evaluation.evaluate import serving
from fedsynth.exchange import Message
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedbabu import FedBABU
from fedsynth.methods.finetune import Finetune
from fedsynth.site import SiteState

ON = resnet(dropout=0.0, blocks=1)
trainer = partial(federations.trainer, network=ON, sites=("brats", "ixi"))


def parts(generator: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The head is the network's last convolution."""
    *_, last = (module for module in generator.modules() if isinstance(module, nn.Conv2d))
    head = list(last.parameters())
    return {"head": head, "body": [p for p in generator.parameters() if all(p is not own for own in head)]}


def close(ours: Tensor, expected: Tensor | np.ndarray, name: str) -> None:
    np.testing.assert_allclose(ours.detach(), expected, rtol=1e-4, atol=1e-6, err_msg=name)


def test_fedbabu_trains_and_shares_bodies_under_heads_that_never_change() -> None:
    of = trainer(FedBABU())
    plain = {name: PlainSite(site, of.options, parts) for name, site in of.sites.items()}
    generators = [site.generator for site in plain.values()]
    start = [p.detach().clone() for p in parts(generators[0])["head"]]
    named = list(generators[0].named_parameters())
    body = [name for name, p in named if any(p is own for own in parts(generators[0])["body"])]
    for round in (1, 2):
        of.round(round)
        for site in plain.values():
            site.train(round, ["body"] * 3)
        averages = mean(generators, [site.samples for site in plain.values()], body)
        assert list(of.plan.model.offsets) == [f"generator.{name}" for name in body]
        for name, value in averages.items():
            close(of.plan.model.part(of.server.model, f"generator.{name}"), value, name)
        write(generators, averages)
    for state in of.sites.values():
        assert all(torch.equal(p, q) for p, q in zip(parts(state.nets["generator"])["head"], start, strict=True))


def tuned(site: SiteState, message: Message, lr: float, count: int) -> nn.ModuleDict:
    """Copies of the nets after plain steps with fresh Adams on the batches that are drawn for it."""
    with site.preserved():
        site.load(message.model)
        nets = deepcopy(site.nets).train()
    adams = {
        name: torch.optim.Adam(net.parameters(), lr, (0.5, 0.999), fused=True)
        for name, net in judges_and_generator(nets)
    }
    for batch in site.draw("fit", count):
        judge = nets["discriminators"][str(batch.task)]  # type: ignore[index]  # a ModuleDict
        fake = nets["generator"](batch.source, batch.code)
        for name, loss in ((str(batch.task), judge_loss), ("generator", generator_loss)):
            nets.zero_grad()
            loss(judge, batch, fake).backward()  # type: ignore[no-untyped-call]
            adams[name].step()
    return nets


def judges_and_generator(nets: nn.ModuleDict) -> list[tuple[str, nn.Module]]:
    return [("generator", nets["generator"]), *nets["discriminators"].named_children()]


@pytest.mark.parametrize(("method", "count"), [(Finetune(), 4), (Finetune(steps=2), 2), (FedBABU(), 4)])
def test_what_is_served_is_tuned_on_all_parts_and_put_back(method: FedAvg, count: int) -> None:
    """As many steps as a round has at most, at the rate that training began with."""
    of = trainer(method, rounds=8, local_steps=4)
    for round in (1, 8):
        of.round(round)
        for name, site in of.sites.items():
            site.enter(round)
            assert (site.lr == of.options.lr) is (round == 1)
            before = {path: tensor.clone() for path, tensor in site.tensors.items()}
            expected = tuned(site, of.method.download(of.server, name), of.options.lr, count)
            with serving(of.method, of.server, site):
                for path, tensor in expected.named_parameters():
                    close(site.tensors[path], tensor.detach(), path)
                    if path.startswith("generator.") and not path.endswith("1.bias"):
                        assert not torch.equal(site.tensors[path], before[path]), path
            assert all(torch.equal(tensor, before[path]) for path, tensor in site.tensors.items())


def test_fine_tuning_changes_what_is_served_and_nothing_else() -> None:
    runs = {steps: trainer(Finetune(steps=steps), rounds=1).run() for steps in (0, 3)}
    plain = trainer(FedAvg(), rounds=1).run()
    assert runs[0].scores == plain.scores
    assert runs[0].digest == runs[3].digest == plain.digest
    assert runs[3].scores != plain.scores


def test_without_fine_tuning_fedbabu_serves_the_random_head() -> None:
    of = trainer(FedBABU(steps=0))
    of.round(1)
    site = of.sites["ixi"]
    with serving(of.method, of.server, site):
        assert torch.equal(site.pack(), of.server.model)


@pytest.mark.parametrize(
    ("method", "option", "value"), [(Finetune, "steps", -1), (FedBABU, "steps", -1), (FedBABU, "head_stages", 0)]
)
def test_options_out_of_range_are_refused(method: type[FedAvg], option: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"method\.{option} is {value}; it must be at least"):
        method(**{option: value})
