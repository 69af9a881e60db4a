"""The way of the released pFLSynth code (Dalmaz et al. 2024; icon-lab/pFLSynth), a worker too:
`python -m fedsynth.benchmarks.speed.reference`.

Written anew from what that code does, on our networks and sites. Slices lie on disk as PNG, two images side by side: T1 and
T2 in the channels of the left one, PD in the right one. Two processes load them with PIL, resize each half to 286 of 256,
crop both alike at random and flip half of them. A step draws the task, copies the images and the code to the device, takes
the discriminators' gradient, moves both of them, takes the generator's (which leaves one in the discriminator too), and
moves it; losses are read every 100 slices. An epoch starts the loading processes anew. After all sites' epochs the
generators are averaged tensor by tensor. Left out: what the released loop also does every round, validation, plots and
checkpoints.

Crops are random, so losses are near ours and not equal. A round's answer splits its seconds into `loader_seconds`, spent
waiting for the next batch, and `step_seconds`.
"""

from __future__ import annotations

import random
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from fedsynth.benchmarks.speed.peers.job import Job, adam, mean
from fedsynth.benchmarks.speed.peers.turns import Turns
from fedsynth.federation import Site, Task

PRINT_EVERY = 100  # slices
PROCESSES = 2  # that load


def write(site: Site, folder: Path, count: int) -> None:
    """`count` PNG files in `folder`, of the site's training slices in turn; the site has T1, T2 and PD."""
    rows = np.resize(site.rows("train"), count)
    for place, row in enumerate(rows):
        t1, t2, pd = np.rint((site.images[row].astype(np.float32) + 1) * 127.5).astype(np.uint8)
        left, right = np.stack([t1, t2, np.zeros_like(t1)], 2), np.stack([pd, pd, pd], 2)
        Image.fromarray(np.concatenate([left, right], 1)).save(folder / f"{place}.png")


class Aligned(Dataset[dict[str, Tensor]]):
    """The PNG files of a folder as pairs of `[3, size, size]` in [-1, 1]."""

    def __init__(self, folder: Path, size: int) -> None:
        self.paths = sorted(folder.glob("*.png"))
        self.fine, self.load = size, round(size * 286 / 256)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        pair = Image.open(self.paths[index]).convert("RGB")
        width, height = pair.size
        room = self.load - self.fine - 1
        left, top = random.randint(0, room), random.randint(0, room)
        flip = random.random() < 0.5
        halves = {"A": (0, 0, width // 2, height), "B": (width // 2, 0, width, height)}
        return {name: self._half(pair.crop(box), left, top, flip) for name, box in halves.items()}

    def _half(self, image: Image.Image, left: int, top: int, flip: bool) -> Tensor:
        resized = image.resize((self.load, self.load), Image.Resampling.BICUBIC)
        tensor = torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous().float().div(255)
        tensor = tensor[:, top : top + self.fine, left : left + self.fine].sub(0.5).div(0.5)
        if flip:
            tensor = tensor.index_select(2, torch.arange(self.fine - 1, -1, -1))
        return tensor


class Model:
    """A site's networks and optimisers, and what is known of the current batch."""

    real_a: Tensor
    real_b: Tensor
    code: Tensor
    task: Task

    def __init__(self, job: Job, name: str) -> None:
        self.device, self.tasks = job.device, job.federation.tasks[name]
        nets = job.nets(name)
        self.generator: nn.Module = nets["generator"]
        self.judges: nn.ModuleDict = nets["discriminators"]
        self.move = adam(self.generator)
        self.judge_moves = [adam(judge) for judge in self.judges.values()]
        self.codes = {task: job.federation.code(name, task).tolist() for task in self.tasks}

    def set_input(self, data: dict[str, Tensor]) -> None:
        a, b = (data[half].to(self.device, non_blocking=True) for half in ("A", "B"))
        images = {"T1": a[:, 0], "T2": a[:, 1], "PD": b[:, 0]}
        self.task = self.tasks[int(np.random.uniform() >= 0.5)]  # noqa: NPY002  # numpy's own stream, as the released code
        self.real_a, self.real_b = (images[contrast].unsqueeze(1) for contrast in self.task.contrasts)
        self.code = torch.tensor([self.codes[self.task]]).to(self.device).expand(len(a), -1)

    def optimize_parameters(self) -> None:
        """One step on the current batch."""
        self.fake_b = self.generator(self.real_a, self.code)
        for move in self.judge_moves:
            move.zero_grad()
        self.backward_discriminator()
        for move in self.judge_moves:
            move.step()
        self.move.zero_grad()
        self.backward_generator()
        self.move.step()

    def backward_discriminator(self) -> None:
        judge = self.judges[str(self.task)]
        score = judge(self.real_a, self.fake_b.detach())
        self.loss_fake = F.mse_loss(score, torch.zeros_like(score))
        score = judge(self.real_a, self.real_b)
        self.loss_real = F.mse_loss(score, torch.ones_like(score))
        ((self.loss_fake + self.loss_real) * 0.5).backward()

    def backward_generator(self) -> None:
        score = self.judges[str(self.task)](self.real_a, self.fake_b)
        self.loss_adversarial = F.mse_loss(score, torch.ones_like(score))
        self.loss_l1 = F.l1_loss(self.fake_b, self.real_b) * 100
        self.loss_generator = self.loss_adversarial + self.loss_l1
        self.loss_generator.backward()

    def current_errors(self) -> dict[str, float]:
        """The losses, read from the device."""
        named = {
            "G_GAN": self.loss_adversarial,
            "G_L1": self.loss_l1,
            "D_real": self.loss_real,
            "D_fake": self.loss_fake,
        }
        return {name: loss.item() for name, loss in named.items()}


class Reference:
    """All sites. Their PNG files, as many as the job's steps need, are written to `folder`, one folder a site."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.folder = job, folder
        self.models = [Model(job, name) for name in job.names]
        self.loaders = [self._loader(name) for name in job.names]
        self.loader_seconds = 0.0

    def _loader(self, name: str) -> DataLoader[dict[str, Tensor]]:
        folder = self.folder / name
        folder.mkdir()
        write(self.job.federation.sites[name], folder, self.job.steps * self.job.batch)
        return DataLoader(Aligned(folder, self.job.size), self.job.batch, shuffle=True, num_workers=PROCESSES)

    def round(self) -> float:
        self.loader_seconds = 0.0
        losses = [
            loss for model, loader in zip(self.models, self.loaders, strict=True) for loss in self._epoch(model, loader)
        ]
        self._average()
        return mean(losses)

    def _epoch(self, model: Model, loader: DataLoader[dict[str, Tensor]]) -> list[Tensor]:
        losses, slices = [], 0
        waiting = time.perf_counter()
        for data in loader:
            self.loader_seconds += time.perf_counter() - waiting
            model.set_input(data)
            model.optimize_parameters()
            losses.append(model.loss_generator.detach())
            slices += self.job.batch
            if slices % PRINT_EVERY == 0:
                print(model.current_errors())
            waiting = time.perf_counter()
        return losses

    def _average(self) -> None:
        states = [model.generator.state_dict() for model in self.models]
        merged = states[0]
        for key in merged:
            merged[key] = sum(state[key] / len(states) for state in states)
        for model in self.models:
            model.generator.load_state_dict(merged)


def cpu_seconds() -> float:
    """User and system seconds of this process and of the loading processes that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def main() -> None:
    job = Job.chosen(Job.parser(__doc__).parse_args())
    with tempfile.TemporaryDirectory() as folder:
        turns, engine = Turns(job, "torch", cpu_seconds), Reference(job, Path(folder))
        while turns.wait():
            started = time.perf_counter()
            loss = engine.round()
            step = time.perf_counter() - started - engine.loader_seconds
            turns.done(loss, loader_seconds=engine.loader_seconds, step_seconds=step)


if __name__ == "__main__":
    main()
