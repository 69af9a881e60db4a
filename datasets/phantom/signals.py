"""Pulse sequences, each with the steady-state signal of a tissue in closed form.

Times are in ms, flip angles in degrees, signals are not negative.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from .tissues import Tissues

CSF_T1 = 4200  # ms, as in tissues.py at 3 T


@dataclass(frozen=True)
class Sequence(ABC):
    """A pulse sequence with its timing."""

    def jittered(self, rng: np.random.Generator, log_sd: float) -> Sequence:
        """The sequence as another scanner would run it: TR, TE, TI and flip angle are each scaled log-normally."""
        varied = {
            name: getattr(self, name) * float(np.exp(log_sd * rng.standard_normal()))
            for name in ("tr", "te", "ti", "flip")
            if hasattr(self, name)
        }
        return replace(self, **varied)

    @abstractmethod
    def signal(self, tissue: Tissues) -> np.ndarray:
        """The magnitude of the transverse magnetisation at the echo, an array of the tissues' shape."""


@dataclass(frozen=True)
class SpinEcho(Sequence):
    """Spin echo, or turbo spin echo at its effective echo time."""

    tr: float
    te: float

    def signal(self, tissue: Tissues) -> np.ndarray:
        recovered = 1 - 2 * np.exp(-(self.tr - self.te / 2) / tissue.t1) + np.exp(-self.tr / tissue.t1)
        return tissue.pd * recovered * np.exp(-self.te / tissue.t2)


@dataclass(frozen=True)
class InversionSpinEcho(Sequence):
    """Spin echo after an inversion. If `ti` nulls the signal of CSF it is FLAIR."""

    tr: float
    te: float
    ti: float

    def jittered(self, rng: np.random.Generator, log_sd: float) -> Sequence:
        """TR and TE vary as in every sequence. TI nulls CSF at the new TR, as wherever FLAIR is run, with a small error."""
        varied = replace(
            self,
            tr=self.tr * np.exp(log_sd * rng.standard_normal()),
            te=self.te * np.exp(log_sd * rng.standard_normal()),
        )
        error = np.exp(log_sd / 4 * rng.standard_normal())
        return replace(varied, ti=self.ti * varied._csf_null() / self._csf_null() * error)

    def _csf_null(self) -> float:
        return CSF_T1 * (np.log(2) - np.log1p(np.exp(-self.tr / CSF_T1)))

    def signal(self, tissue: Tissues) -> np.ndarray:
        recovered = 1 - 2 * np.exp(-self.ti / tissue.t1) + np.exp(-self.tr / tissue.t1)
        return tissue.pd * np.abs(recovered) * np.exp(-self.te / tissue.t2)


@dataclass(frozen=True)
class SpoiledGradientEcho(Sequence):
    """Spoiled gradient echo (FLASH, SPGR) in its steady state."""

    tr: float
    te: float
    flip: float

    def signal(self, tissue: Tissues) -> np.ndarray:
        angle = np.deg2rad(self.flip)
        e1 = np.exp(-self.tr / tissue.t1)
        return tissue.pd * np.sin(angle) * (1 - e1) / (1 - np.cos(angle) * e1) * np.exp(-self.te / tissue.t2star)


@dataclass(frozen=True)
class Mprage(Sequence):
    """A train of gradient echoes after an inversion (MPRAGE, TFE), in its periodic steady state, read at the train's centre."""

    tr: float  # from one inversion to the next
    ti: float  # from an inversion to the centre of the train
    te: float
    flip: float
    spacing: float  # from one pulse to the next
    pulses: int

    def signal(self, tissue: Tissues) -> np.ndarray:
        train = self.pulses * self.spacing
        before = self.ti - train / 2
        after = self.tr - before - train
        angle = np.deg2rad(self.flip)
        pulse_e1 = np.exp(-self.spacing / tissue.t1)
        decay = (
            np.cos(angle) * pulse_e1
        )  # per pulse, of the distance from the train's equilibrium (Look and Locker 1970)
        equilibrium = (1 - pulse_e1) / (1 - decay)
        # Each piece of the cycle is an affine map of Mz, m -> scale * m + offset. Their composition has one fixed point.
        e_before, e_after = np.exp(-before / tissue.t1), np.exp(-after / tissue.t1)
        pieces = (
            (-1.0, 0.0),
            (e_before, 1 - e_before),
            (decay**self.pulses, equilibrium * (1 - decay**self.pulses)),
            (e_after, 1 - e_after),
        )
        scale, offset = np.ones(()), np.zeros(())
        for a, b in pieces:
            scale, offset = a * scale, a * offset + b
        start = 1 + e_before * (-(offset / (1 - scale)) - 1)
        centre = equilibrium + decay ** (self.pulses / 2) * (start - equilibrium)
        return tissue.pd * np.abs(centre) * np.sin(angle) * np.exp(-self.te / tissue.t2star)


def response(sequence: Sequence, tissue: Tissues) -> np.ndarray:
    """Signals of the tissues and their derivatives by log T1, log T2 (with T2*) and log PD, float32 `[4, K]`."""
    step = 0.02
    factors = np.ones((7, 3, 1))
    for parameter in range(3):
        factors[1 + 2 * parameter, parameter] += step
        factors[2 + 2 * parameter, parameter] -= step
    t1, t2, pd = factors.transpose(1, 0, 2)
    signals = sequence.signal(Tissues(tissue.t1 * t1, tissue.t2 * t2, tissue.t2star * t2, tissue.pd * pd))
    return np.concatenate([signals[:1], (signals[1::2] - signals[2::2]) / (2 * step)]).astype(np.float32)
