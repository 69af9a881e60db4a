"""Steps whose nets run compiled: which calls are, by what they have a gradient, what happens where a net cannot be compiled.

In the quick tests the compiler gives back what it was given, so that a run has to end as the eager one, to the bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from support.federations import options, personalised, resnet, trainer
from support.probes import Everything, facts
from torch import Tensor, nn
from torch._inductor.runtime.cache_dir_utils import cache_dir  # torch has no public name for it

from fedsynth.feed import Batch
from fedsynth.losses import l1
from fedsynth.method import Method, Nets
from fedsynth.methods.fedsam import FedSAM
from fedsynth.methods.moon import MOON
from fedsynth.networks.blocks import Dropout, Norm
from fedsynth.networks.conditioning import AdaIN
from fedsynth.networks.discriminator import PatchGAN
from fedsynth.runtime import device
from fedsynth.runtime.options import Execution, Precision
from fedsynth.step import Pairs, compiled, layers
from fedsynth.trainer import Trainer

CPU = torch.device("cpu")
OWN_FOLDER = os.environ.get("TORCHINDUCTOR_CACHE_DIR", str(compiled.FOLDER)) != str(compiled.FOLDER)


def run_by(
    compiler: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, method: Method, norm: Norm = Norm.batch
) -> tuple[Trainer, dict[str, Any], dict[str, Any]]:
    """A run whose nets this compiler has compiled: its trainer, what it found, and what the eager run found.

    Batch norm keeps a discriminator from judging two batches as one, which would round otherwise."""
    monkeypatch.setattr(compiled, "net_runner", lambda: compiler)
    runs = [
        trainer(
            method, personalised(dropout=0.5, blocks=1, norm=norm), ("ixi", "oasis"), execution=execution, local_steps=2
        )
        for execution in (Execution.compiled, Execution.eager)
    ]
    found, expected = ({k: v for k, v in facts(one.run()).items() if k != "costs"} for one in runs)
    return runs[0], found, expected


@dataclass
class Together(Method):
    """Moves both players by the generator's loss."""

    def objective(self, nets: Nets, batch: Batch) -> Pairs:
        fake = nets["generator"](batch.source, batch.code)
        score = nets["discriminators"][str(batch.task)](batch.source, fake)
        yield ("generator", f"discriminators.{batch.task}"), l1(fake, batch.target) + score.square().mean()


class Watched:
    """A compiler that changes nothing; `calls`: the net's class, and whether its parameters had a gradient."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []
        self.judged: list[int] = []  # images, by a discriminator

    def __call__(self, net: nn.Module, *given: Tensor) -> Any:
        self.judged += [len(given[0])] * isinstance(net, PatchGAN)
        self.calls.append((type(net).__name__, any(parameter.requires_grad for parameter in net.parameters())))
        return net.forward(*given)


@pytest.mark.parametrize("method", [Everything(), Together()], ids=lambda method: type(method).__name__)
def test_steps_are_the_eager_ones(monkeypatch: pytest.MonkeyPatch, method: Method) -> None:
    watched = Watched()
    of, found, expected = run_by(watched, monkeypatch, method)
    assert found == expected
    assert of.step.ran == "compiled"
    assert ("PatchGAN", False) in watched.calls or isinstance(method, Together)
    assert all(learns for net, learns in watched.calls if net != "PatchGAN" or isinstance(method, Together))


@pytest.mark.parametrize("norm", Norm)
def test_real_and_made_are_judged_as_one_batch_where_no_norm_mixes_them(
    monkeypatch: pytest.MonkeyPatch, norm: Norm
) -> None:
    watched = Watched()
    of, _, _ = run_by(watched, monkeypatch, Method(), norm)
    assert of.step.ran == "compiled"  # so losses and gradients were those of the eager step
    batch = of.options.batch
    assert watched.judged[:4] == ([2 * batch, batch] * 2 if norm is Norm.instance else [batch] * 4)


def test_calls_that_are_not_the_same_in_one_batch_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a net that is not compiled, has a gradient by its input, draws at random, or has hooks."""
    monkeypatch.setattr(compiled, "net_runner", Watched)
    image = torch.randn(2, 1, 4, 4)
    for net, at_work, gradient in (
        (nn.Conv2d(1, 1, 1), False, False),
        (nn.Conv2d(1, 1, 1), True, True),
        (nn.Sequential(nn.Conv2d(1, 1, 1), Dropout(0.5)), True, False),
    ):
        one = compiled.CompiledNet("judge", net, torch.Generator())
        one.at_work = at_work
        assert one.together([(image,), (image.clone().requires_grad_(gradient),)]) is None
    judge = nn.Conv2d(1, 1, 1)
    one = compiled.CompiledNet("judge", judge, torch.Generator())
    one.at_work = True
    found = compiled.together(judge, (image,), (image[:1] + 1,))
    torch.testing.assert_close(found, [nn.Conv2d.forward(judge, given) for given in (image, image[:1] + 1)])
    judge.register_forward_hook(lambda *given: None)
    assert one.together([(image,), (image,)]) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "why"),
    [(MOON(), "generator has hooks"), (FedSAM(), "generator is called with other parameters")],
    ids=["moon", "fedsam"],
)
def test_what_cannot_be_compiled_runs_as_it_is_and_is_said(
    monkeypatch: pytest.MonkeyPatch, method: Method, why: str
) -> None:
    of, found, expected = run_by(Watched(), monkeypatch, method)
    assert found == expected
    assert why in of.step.ran


def broken(net: nn.Module, *given: Tensor) -> Tensor:
    raise RuntimeError("no such instruction")


def halved(net: nn.Module, *given: Tensor) -> Tensor:
    """Right values, and gradients that are not."""
    made = net.forward(*given)
    return (made + made.detach()) / 2


@pytest.mark.parametrize(("compiler", "why"), [(broken, "no such instruction"), (halved, "and eagerly")])
def test_a_compiler_that_fails_is_not_used(
    monkeypatch: pytest.MonkeyPatch, compiler: Callable[..., Any], why: str
) -> None:
    of, found, expected = run_by(compiler, monkeypatch, Method())
    assert found == expected
    assert why in of.step.ran


def test_what_a_machine_lacks_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        ValueError, match=r"compiled was asked for, and there is no C\+\+ compiler 'no-such-compiler'; install"
    ):
        device.check_machine(options(execution=Execution.compiled), CPU)
    monkeypatch.setattr(device, "has_bf16", lambda device: False)
    with pytest.raises(ValueError, match=r"bf16 was asked for, and this cpu has no .*; set trainer\.precision=fp32"):
        device.check_machine(options(precision=Precision.bf16), CPU)


@pytest.mark.skipif(OWN_FOLDER, reason="TORCHINDUCTOR_CACHE_DIR names a folder of the user's own")
def test_code_is_kept_where_later_runs_find_it() -> None:
    """Also where torch asks for the folder first, as it does when it counts the operations of an eager step."""
    assert cache_dir() == str(compiled.FOLDER)


CONVOLUTIONS = {
    "first of a generator": nn.Conv2d(1, 8, 7, bias=False),
    "first, of three sources": nn.Conv2d(3, 8, 7, padding=3),
    "head": nn.Conv2d(8, 1, 7),
    "first of a discriminator": nn.Conv2d(2, 16, 4, 2, 1),
    "last of a discriminator": nn.Conv2d(16, 1, 4, 1, 1),
    "without a bias": nn.Conv2d(16, 1, 3, bias=False),
    "any other": nn.Conv2d(16, 32, 4, 2, 1),
    "in groups": nn.Conv2d(2, 2, 4, 2, 1, groups=2),
}
NORMS = {"norm": nn.InstanceNorm2d(3, affine=True), "plain norm": nn.InstanceNorm2d(3), "AdaIN": AdaIN(3, 5)}


@pytest.mark.parametrize("name", [*CONVOLUTIONS, *NORMS])
def test_a_layer_gives_a_compiler_the_same_in_another_form(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    torch.manual_seed(0)
    layer: Any = deepcopy((CONVOLUTIONS | NORMS)[name]).double()
    channels = layer.in_channels if name in CONVOLUTIONS else 3
    image = (torch.randn(2, channels, 16, 20, dtype=torch.float64) * 3 + 5).requires_grad_()
    latent = [torch.randn(2, 5, dtype=torch.float64)] if name == "AdaIN" else []

    def found() -> list[Tensor]:
        made = layer(image, *latent)
        return [made, *torch.autograd.grad(made.sin().sum(), [image, *layer.parameters()])]

    as_it_was = found()
    layers.prepare(layer)
    assert all(map(torch.equal, found(), as_it_was))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(found(), as_it_was, rtol=1e-4, atol=1e-4)  # a norm is in single precision
    other = deepcopy(layer)
    assert other.forward.__self__ is other


def test_dropout_draws_the_same_when_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, image = Dropout(0.5), torch.randn(2, 3, 8, 8)
    layer.generator = torch.Generator().manual_seed(1)
    eager = layer(image)
    layers.prepare(layer)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(layers.Noise, "stream", torch.Generator().manual_seed(1))
    assert torch.equal(layer(image), eager)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch warns of its own old parts
def test_all_sites_share_one_code_of_a_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a compiler that only traces. A discriminator has two: where its input has a gradient, its parameters have none."""
    from torch._dynamo.utils import counters  # torch has no public count

    traced = torch.compile(compiled.run_net, dynamic=False, backend="aot_eager")  # in place of what the engine compiles
    counters.clear()
    monkeypatch.setattr(compiled, "net_runner", lambda: traced)
    network = personalised(blocks=1, dropout=0.5)
    runs = [trainer(Method(), network, execution=way).run() for way in (Execution.compiled, Execution.eager)]
    assert runs[0].execution == "compiled"
    assert (counters["stats"]["unique_graphs"], counters["graph_break"]) == (3, {})
    for one, other in zip(runs[0].curve, runs[1].curve, strict=True):
        assert one["loss_generator"] == pytest.approx(other["loss_generator"], rel=1e-4)
        assert one["loss_discriminator"] == pytest.approx(other["loss_discriminator"], rel=1e-4)


class Stopped(Exception):
    """The process is gone."""


def stop(round: int, rounds: int, site: str, loss: float) -> None:
    if round == 2:
        raise Stopped


@pytest.mark.parametrize(
    "backend", [pytest.param("aot_eager", marks=pytest.mark.slow), pytest.param("inductor", marks=pytest.mark.long)]
)
@pytest.mark.filterwarnings("ignore")  # torch warns of its own old parts
def test_compiled_runs_repeat_and_resume_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    if backend != "inductor":  # which takes minutes
        traced = torch.compile(compiled.run_net, dynamic=False, backend=backend)  # in place of what the engine compiles
        monkeypatch.setattr(compiled, "net_runner", lambda: traced)
    given: dict[str, Any] = {"execution": Execution.compiled, "rounds": 3, "local_steps": 2}
    network = resnet(blocks=1, width=2, dropout=0.5)

    def of(folder: str, **more: Any) -> Trainer:
        return trainer(Method(), network, ("ixi", "oasis"), folder=tmp_path / folder, **given | more)

    of_whole = of("whole")
    whole = facts(of_whole.run())
    assert of_whole.step.ran == "compiled"
    with pytest.raises(Stopped):
        of("stopped", progress=stop).run()
    torch.compiler.reset()  # as in another process
    assert facts(of("stopped").run()) == whole
