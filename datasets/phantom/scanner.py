"""A scanner, which turns the anatomy of a subject into images with the faults of real scans.

For each contrast, in this order: signals of the tissues, mixed by partial volume; receive and transmit fields; averaging over the
output pixel; in-plane point spread and slice thickness; misregistration; Rician noise; skull stripping.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .anatomy import Anatomy
from .fields import Fields, PixelGrid
from .signals import response
from .sites import Acquisition, Hospital
from .streams import stream
from .tissues import INDEX, LESIONS, of_subject

FINEST = 1.8  # mm; the anatomy is evaluated on pixels of at most this edge, and averaged


@dataclass(frozen=True, eq=False)
class Exposure:
    """How one contrast of one subject was acquired."""

    acquisition: Acquisition
    response: np.ndarray  # signal of each tissue and its derivatives, [4, K]; see `response`
    bias: float  # weight of the second receive field
    turn: float  # misregistration, radians
    shift: np.ndarray  # misregistration of rows and columns, mm [2]
    gain: float  # factor of the intensity that is shown as white


class Scan:
    """The scan of one subject, any slice of which can be rendered alone.

    `names` are those of its random streams, (seed, site, subject); `size` is the number of pixels each way; `nuisance` in [0, 1]
    scales the differences in gain.
    """

    def __init__(self, hospital: Hospital, names: tuple[object, ...], size: int, nuisance: float) -> None:
        self._hospital, self._names, self._size = hospital, names, size
        self._pixel = hospital.fov / size
        self.finer = int(np.ceil(self._pixel / FINEST))
        self._grid = PixelGrid.square(hospital.fov, size * self.finer)
        person = stream(*names, "person")
        self._anatomy = Anatomy(
            stream(*names, "anatomy"),
            self._grid,
            age=person.uniform(*hospital.age),
            tumour=hospital.tumour,
            wmh=person.uniform(*hospital.wmh),
        )
        tissues = of_subject(hospital.field, stream(*names, "tissues"))
        self._coils = Fields(stream(*names, "coils"), self._grid, {"receive": 230, "receive too": 140})
        self.exposures = {}
        for contrast, acquisition in hospital.acquisitions.items():
            rng = stream(*names, "exposure", contrast)
            moved = 0.0 if contrast == "T1" else hospital.misregistration  # T1 is what the others were registered to
            self.exposures[contrast] = Exposure(
                acquisition,
                response(acquisition.sequence.jittered(rng, hospital.jitter), tissues),
                bias=rng.standard_normal(),
                turn=np.deg2rad(0.6 * moved * rng.standard_normal()),
                shift=moved * rng.standard_normal(2),
                gain=float(np.exp(0.06 * nuisance * rng.standard_normal())),
            )

    def slice(self, z: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Raw magnitudes `[C, H, W]` of the slice at height `z` mm; masks `[H, W]` of its brain, foreground and lesions; and the
        magnitudes without their noise.

        The foreground is the head where the skull is shown, and the brain where it is stripped. Lesions are the pixels of which
        more than half is tumour, necrosis, oedema or white-matter hyperintensity.
        """
        anatomy = self._anatomy.at(z)
        shares = anatomy.shares.reshape(len(INDEX), -1)
        dome = self._dome(z)
        coils = self._coils.at(z)
        brain, head, lesions = self.averaged(np.stack([anatomy.brain, anatomy.head, anatomy.shares[LESIONS].sum(0)]))
        strip = np.clip(2 * brain - 0.5, 0, 1) if self._hospital.stripped else None
        images, noise_free = [], []
        for contrast, exposure in self.exposures.items():
            plain, *slopes = (exposure.response @ shares).reshape(4, *anatomy.brain.shape)
            signal = plain + sum(slope * change for slope, change in zip(slopes, anatomy.texture, strict=True))
            field = np.float32(0.7) * coils["receive"] + np.float32(0.35 * exposure.bias) * coils["receive too"]
            signal *= np.exp(np.float32(self._hospital.bias) * np.tanh(field)) * dome
            image = self.moved(self.blurred(self.averaged(signal), exposure.acquisition), exposure)
            noisy = self._noisy(image, exposure, stream(*self._names, "noise", contrast, round(1000 * z)))
            images.append(noisy if strip is None else noisy * strip)
            noise_free.append(image if strip is None else image * strip)
        foreground = (brain if self._hospital.stripped else head) > 0.5
        return np.stack(images), brain > 0.5, foreground, lesions > 0.5, np.stack(noise_free)

    def gains(self) -> np.ndarray:
        """The factor of the intensity that is shown as white, for each contrast `[C]`."""
        return np.array([exposure.gain for exposure in self.exposures.values()], np.float32)

    def _dome(self, z: float) -> np.ndarray:
        far = (self._grid.x[None] ** 2 + self._grid.y[:, None] ** 2 + np.float32(z * z / 2)) / np.float32(85**2)
        return 1 + np.float32(self._hospital.dome) * (1 - far)

    def averaged(self, fine: np.ndarray) -> np.ndarray:
        """The mean over the evaluated pixels of each output pixel, `[..., H, W]`."""
        if self.finer == 1:
            return fine
        shape = (*fine.shape[:-2], self._size, self.finer, self._size, self.finer)
        return fine.reshape(shape).mean((-3, -1))

    def blurred(self, image: np.ndarray, acquisition: Acquisition) -> np.ndarray:
        """The image with the in-plane point spread, and with a further blur of 0.12 x thickness in place of thick slices."""
        through = 0.12 * acquisition.thickness if acquisition.thickness > 2 else 0.0
        for mm in (acquisition.fwhm / 2.355, through):
            if mm / self._pixel > 0.2:
                image = ndimage.gaussian_filter(image, mm / self._pixel, mode="nearest", truncate=3)
        return image

    def moved(self, image: np.ndarray, exposure: Exposure) -> np.ndarray:
        """The image rotated about its centre and shifted, by cubic interpolation."""
        if not (exposure.turn or exposure.shift.any()):
            return image
        c, s = np.cos(exposure.turn), np.sin(exposure.turn)
        matrix, centre = np.array([[c, -s], [s, c]]), np.full(2, (self._size - 1) / 2)
        offset = centre - matrix @ centre + exposure.shift / self._pixel
        return np.maximum(ndimage.affine_transform(image, matrix, offset, order=3, mode="nearest"), 0)

    def _noisy(self, image: np.ndarray, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
        """The magnitude of the image with complex Gaussian noise of the acquisition's SNR, of which larger pixels have less."""
        white = exposure.response[0, INDEX["wm"]]
        sigma = np.float32(1.6 * white / exposure.acquisition.snr / max(self._pixel, 1))
        real, imaginary = sigma * rng.standard_normal((2, *image.shape), np.float32)
        return np.hypot(image + real, imaginary)
