"""How close a synthesised slice is to the real one. Batched, on the images' device, without waiting for the host.

`scores` is cheap and judges the rounds; `details` costs more and is of test slices alone.
"""

from .details import details
from .scores import EVERY_SLICE, scores

__all__ = ["EVERY_SLICE", "details", "scores"]
