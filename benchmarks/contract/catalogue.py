"""The catalogue of methods, docs/catalogue.md, made from their code, their docstrings and two rounds of each.

`python -m fedsynth.benchmarks.contract.catalogue FILE` writes it.
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from fedsynth.exchange import Memory, Plan, places
from fedsynth.federation import Columns, Task
from fedsynth.method import Blueprint, Method
from fedsynth.registry import METHODS, NETWORKS

from .options import options
from .sources import sentences
from .toy import ToyFederation

TASKS = tuple(map(Task.parse, ("T1->T2", "T2->PD", "FLAIR->T2", "T2->T1", "T2->FLAIR")))  # the paper's variable tasks
WIDTH = 8  # of the small network: in its lengths a few numbers beside the model do not show
HEAD = """# The methods

`make catalogue` writes this page from the methods' code and docstrings; do not edit it. `fedsynth check METHOD` says whether a
method keeps the contract. Its test in `tests/methods/` says whether it does what its paper says.

Each entry ends with what differs from the paper and from the released code. It leaves out what all methods share here, so that
their scores can be compared: the objective, LSGAN + 100 L1, where most papers have a classifier's cross entropy; discriminators
that stay at the sites; the trainer's optimiser, batches and schedule, with an optimiser's state that stays at its site; and
FedAvg's mean, weighted by training slices over the sites that took part, wherever nothing else is said.

A term that a method adds to the task's loss has a weight, which its paper gives beside another loss. One rule for all: the
published weight times 100, L1's weight here, if the paper's loss weighs 1, so that the minimum of their sum stays where it was;
but the published weight, if the term would otherwise drown the task. The *ratio of gradients* in an entry is the median of the
length of the term's gradient by that of the task's loss, over the local steps of

    python -m fedsynth.benchmarks.contract.gradient_ratio NAME experiment=smoke +where_present.network.blocks=3 \\
        'scenario.sites=[ixi,oasis]' 'scenario.adapt=[]' trainer.rounds=4

In larger networks and longer rounds pulls are stronger, as weights go further. `fedsynth tune` draws a weight from a tenth to
ten times its default.

- *travels*: the share of the generator's parameters that is exchanged, on the published network, or else `resnet`, at full size
  with four sites and four contrasts.
- *up* and *down*: the floats that a site sends and is sent in the second round, as multiples of the number that travels: 2 is a
  model and a second vector of its length. Measured at a small size with three sites.
- *memory*: what a site and the server keep from round to round besides the nets, as the same multiples.
- *gradients*: the backward passes of a local step. FedAvg has two: the discriminator's and the generator's.
"""
LEFT_OUT = (  # each with what it is and why it is not here
    (
        "FedGIMP (Elmas et al., IEEE TMI 2023)",
        "a federated generative prior of MR images, fitted to k-space",
        "reconstruction: there is no source contrast",
    ),
    (
        "FedGAT (Nezhad et al., arXiv 2502.04521, 2025)",
        "a federated autoregressive transformer makes images on which each site trains a network of its own",
        "reconstruction; it federates a pretrained foundation model, and this suite has no pretrained weights",
    ),
    (
        "FedPR (Feng et al., CVPR 2023)",
        "prompts of a pretrained network travel, projected into a null space",
        "reconstruction; no pretrained weights",
    ),
    (
        "ModFed (Wu et al., arXiv 2304.07502, 2023)",
        "unrolled networks with data consistency",
        "reconstruction: there is no k-space",
    ),
    (
        "FedDDPM (arXiv 2503.06426, 2025), FedDM (arXiv 2407.14730, 2024)",
        "federated diffusion models",
        "the objective here is LSGAN + L1 for all; diffusion comes when objectives are an axis like networks are",
    ),
    (
        "FedPara (Hyeon-Woo et al., ICLR 2022)",
        "layers are low-rank products, of which less travels",
        "it changes the network, not the federation: it would be compared on a network of its own",
    ),
    (
        "FedCP (Zhang et al., KDD 2023)",
        "each sample's feature vector is split between a global and a personal head",
        "the heads are a classifier's, on a vector; a generator's features are maps",
    ),
    (
        "HarmoFL (Jiang et al., AAAI 2022)",
        "images get one amplitude spectrum at all sites; weights are perturbed towards flat minima",
        "the spectrum is what is synthesised here; the second half is what FedSAM does",
    ),
    (
        "FedDG (Liu et al., CVPR 2021)",
        "sites exchange amplitude spectra of images",
        "parts of images leave a site; its loss needs the boundaries of a segmentation",
    ),
    (
        "FedRoD (Chen and Chao, ICLR 2022)",
        "a balanced and a personal predictor",
        "it balances the softmax over classes; slices have no class",
    ),
    (
        "FedProto (Tan et al., AAAI 2022)",
        "prototypes travel",
        "it averages one for each class",
    ),
    (
        "FedLC (Zhang et al., ICML 2022)",
        "calibrated logits",
        "it calibrates them by the labels' frequencies",
    ),
    (
        "FedPAC (Xu et al., ICLR 2023)",
        "aligned features and mixed heads",
        "it aligns the centroids of classes",
    ),
    (
        "FedGen (Zhu et al., ICML 2021)",
        "distillation without data",
        "its generator draws features for a given label",
    ),
    (
        "kNN-Per (Marfoq et al., ICML 2022)",
        "a memory of local samples",
        "it interpolates a classifier's output with the labels of neighbours",
    ),
)


@dataclass(frozen=True)
class Facts:
    """What was measured of a method."""

    travels: str
    up: str
    down: str
    memory: str
    gradients: str


def facts(cls: type[Method]) -> Facts:
    """From the plan at full size and from two rounds at a small one."""
    toy = ToyFederation.of(cls)
    trainer = replace(toy, network=replace(toy.network, width=WIDTH)).trainer()
    for round in (1, 2):
        trainer.round(round)
    length = trainer.plan.model.numel
    rows = [row for row in trainer.state.curve if row["round"] == 2]
    owned = {
        name: sum(p.numel() for p in map(site.tensors.get, trainer.plan.model.offsets) if p is not None)
        for name, site in trainer.sites.items()
    }

    def times(key: str) -> str:
        found = [row[key] / 4 / owned[row["site"]] for row in rows if owned[row["site"]]]
        return span(found) if found else "0"

    held = [memory_length(site.memory) / (length or 1) for site in trainer.sites.values()]
    steps = {name: site.steps for name, site in trainer.sites.items()}
    return Facts(
        travels=f"{100 * shared_part(cls):.4g} %",
        up=times("bytes_up"),
        down=times("bytes_down"),
        memory=f"{span(held)} / {span([memory_length(trainer.server.memory) / (length or 1)])}",
        gradients=span([row["gradient_evaluations"] / steps[row["site"]] for row in rows]),
    )


def shared_part(cls: type[Method]) -> float:
    """Of the parameters of the published network's generator, the part that travels; nothing is allocated for them."""
    network = NETWORKS[cls.default_network()]()
    network.norm = cls.needs_norm or network.norm
    method = cls()
    with torch.device("meta"):
        nets = method.build(Blueprint(network, Columns(4, 4), TASKS, seed=0))
    chosen = {place.path for place in Plan(nets, method.travels).model.places}
    sizes = {place.path: t.numel() for place, t in places(nets) if place.net == "generator" and not place.is_buffer}
    return sum(size for path, size in sizes.items() if path in chosen) / sum(sizes.values())


def memory_length(memory: Memory) -> int:
    return sum(value.numel() for value in memory.values() if isinstance(value, Tensor))


def span(values: list[float]) -> str:
    low, high = (f"{value:.2f}".rstrip("0").rstrip(".") for value in (min(values), max(values)))
    return low if low == high else f"{low}-{high}"


def paragraphs(cls: type[Method]) -> list[str]:
    """The paragraphs of a docstring: text in one line, and formulas, which are indented, as they are."""
    parts = (inspect.getdoc(cls) or "").split("\n\n")
    return [part if part.startswith(" ") else " ".join(part.split()) for part in parts]


def differences(cls: type[Method]) -> dict[str, str]:
    """What a docstring says of how the method differs from each of its sources; empty where it says nothing."""
    told = {source: f"What differs from the {source}" for source in ("paper", "released code")}
    found = [paragraph.partition(":") for paragraph in paragraphs(cls)]
    return {
        source: next((text for head, _, text in found if head.startswith(words)), "").strip()
        for source, words in told.items()
    }


def about_sgd(cls: type[Method]) -> str:
    """The sentences of a docstring that speak of SGD."""
    return " ".join(sentence for sentence in sentences(inspect.getdoc(cls) or "") if re.search(r"\bSGD\b", sentence))


def section(name: str, cls: type[Method]) -> list[str]:
    """A method's part of the page."""
    parent = next((other for other, entry in METHODS.entries().items() if entry.cls is cls.__mro__[1]), "")
    own = [option for option in options(cls) if option.name not in Method.__dataclass_fields__]
    lines = [f"### {name}", "", *(inspect.getdoc(sys.modules[cls.__module__]) or "").splitlines(), ""]
    network = (
        f"`{cls.published}`"
        if cls.default_network() == cls.published
        else f"none; it runs on `{cls.default_network()}`"
    )
    lines += [f"Published network: {network}." + (f" Parent: `{parent}`." if parent else ""), ""]
    for paragraph in paragraphs(cls):
        lines += [re.sub(r"^(What differs from the (?:papers?|released code))", r"**\1**", paragraph), ""]
    if own:
        lines += ["Options: " + ", ".join(f"`{option.name}={option.default}`" for option in own) + ".", ""]
    return lines


def page() -> str:
    """The whole page."""
    classes = {name: entry.cls for name, entry in METHODS.entries().items()}
    lines = [
        HEAD,
        "| method | year | travels | up | down | memory, site / server | gradients |",
        "| --- | --- | --: | --: | --: | --: | --: |",
    ]
    for name, cls in classes.items():
        first = (inspect.getdoc(sys.modules[cls.__module__]) or "").partition("\n")[0]
        years = re.findall(r"\b(20\d\d)\b", first)
        found = facts(cls)
        lines.append(
            f"| [`{name}`](#{name}) | {years[-1] if years else ''} | {found.travels} | {found.up} | {found.down} | "
            f"{found.memory} | {found.gradients} |"
        )
    lines += ["", "## Forms that were derived for SGD", ""]
    lines += [f"- `{name}`: {text}" for name, cls in classes.items() if (text := about_sgd(cls))]
    lines += [
        "",
        "## What is not here, and why",
        "",
        "| method | what it is | why it is not here |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {' | '.join(row)} |" for row in LEFT_OUT]
    lines += ["", "## One by one", ""]
    for name, cls in classes.items():
        lines += section(name, cls)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    torch.set_num_threads(1)
    Path(sys.argv[1]).write_text(page())
