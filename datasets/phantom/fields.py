"""Smooth random fields made of plane waves, which can be evaluated anywhere, so that no volume is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

CHUNK = 4096  # points that are evaluated at a time, so that arrays for some 40 waves stay in the processor's cache


@dataclass(frozen=True, eq=False)
class PixelGrid:
    """The points at which a slice is evaluated. Rows run from front to back."""

    x: np.ndarray  # of the columns, to the right, mm [W]
    y: np.ndarray  # of the rows, to the front, mm [H]
    pixel: float  # edge, mm

    @classmethod
    def square(cls, fov: float, size: int) -> PixelGrid:
        """`size` x `size` pixels centred in a field of view of `fov` mm."""
        pixel = fov / size
        centres = ((np.arange(size) - (size - 1) / 2) * pixel).astype(np.float32)
        return cls(centres, centres[::-1].copy(), pixel)


def wave_vectors(
    rng: np.random.Generator, wavelength: float, count: int, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Wave vectors `[count, 3]` in rad/mm, of any direction and of log-normal length, and phases `[count]`."""
    direction = rng.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = 2 * np.pi / wavelength * np.exp(spread * rng.standard_normal((count, 1)))
    return direction * length, rng.uniform(0, 2 * np.pi, count)


class Fields:
    """Named fields on a regular grid, nearly Gaussian, with mean 0 and variance 1.

    A plane wave is separable on such a grid, cos(a_y + b_x) = cos a cos b - sin a sin b, so a slice of a field of n waves is one
    product `[H, 2n] x [2n, W]`.
    """

    def __init__(
        self, rng: np.random.Generator, grid: PixelGrid, wavelengths: Mapping[str, float], count: int = 24
    ) -> None:
        self.names = tuple(wavelengths)
        drawn = [wave_vectors(rng, wavelength, count, spread=0.2) for wavelength in wavelengths.values()]
        k = np.stack([vectors for vectors, _ in drawn])  # [F, n, 3]
        across = k[..., 0, None] * grid.x
        self._across = (np.concatenate([np.cos(across), np.sin(across)], axis=1) * np.sqrt(2 / count)).astype(
            np.float32
        )
        self._down = (
            grid.y[:, None] * k[:, None, :, 1] + np.stack([phases for _, phases in drawn])[:, None, :]
        )  # [F, H, n]
        self._through = k[:, None, :, 2]

    def at(self, z: float) -> dict[str, np.ndarray]:
        """Every field on the slice at height `z` mm, float32 `[H, W]`."""
        down = (self._down + self._through * z).astype(np.float32)
        values = np.concatenate([np.cos(down), -np.sin(down)], axis=2) @ self._across
        return dict(zip(self.names, values, strict=True))


class Folds:
    """A band-pass field whose zero set is a system of sheets."""

    def __init__(self, rng: np.random.Generator, wavelength: float, count: int) -> None:
        self.wavenumber = 2 * np.pi / wavelength
        k, phases = wave_vectors(rng, wavelength, count, spread=0.15)
        self.waves, self.phases = k.astype(np.float32), phases.astype(np.float32)
        amplitude = np.float32(np.sqrt(2 / count))
        self._value = np.full(count, amplitude, np.float32)
        self._gradient = (-amplitude * k).astype(np.float32)

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Approximate distance in mm of `points` `[3, n]` from the nearest sheet, float32 `[n]`.

        It is |f| / |grad f|. A floor under the gradient keeps the estimate finite between sheets.
        """
        distance = np.empty(points.shape[1], np.float32)
        floor = np.float32((0.45 * self.wavenumber) ** 2)
        for start in range(0, points.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            phase = self.waves @ points[:, part] + self.phases[:, None]
            value = self._value @ np.cos(phase)
            gradient = self._gradient.T @ np.sin(phase)
            distance[part] = np.abs(value) / np.sqrt((gradient**2).sum(0) + floor)
        return distance
