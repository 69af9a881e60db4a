"""The bias field, the slow change of brightness that receive coils cause, removed by N4 (Tustison et al. 2010)."""

from __future__ import annotations

import numpy as np

from fedsynth.federation import FederationError

from .itk import image, simpleitk
from .mask import foreground
from .volume import Volume

COARSE = 4.0  # mm, edge of the voxels on which the field is fitted; the field is smooth over centimetres


def corrected(volume: Volume) -> Volume:
    """The volume divided by the field that N4 finds inside the head, with SimpleITK's defaults, on one thread.

    Raises FederationError if N4 finds none, for example in a volume of few voxels.
    """
    sitk = simpleitk()
    full = image(volume.voxels, volume.grid)
    head = image(foreground(volume.voxels, volume.grid.edges).astype(np.uint8), volume.grid)
    edges = zip(volume.grid.spacing, volume.grid.shape, strict=True)
    shrink = [max(1, min(round(COARSE / edge), extent)) for edge, extent in edges]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetNumberOfWorkUnits(1)
    try:
        n4.Execute(sitk.Shrink(full, shrink), sitk.Shrink(head, shrink))
        field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(full)).T
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise FederationError(
            f"N4 finds no bias field in {volume.grid} ({reason}); use dataset.chain.bias=false"
        ) from error
    return volume._replace(voxels=volume.voxels / np.exp(field))
