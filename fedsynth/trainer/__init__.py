"""The training loop: rounds of download, local training, upload and aggregation, for every method alike."""

from .outcome import Outcome as Outcome
from .trainer import NUMERICS as NUMERICS, Trainer as Trainer
