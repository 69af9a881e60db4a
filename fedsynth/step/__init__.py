"""One local step: the losses that a method yields, and how they move the nets of the slot that a site works in."""

from .compiled import together as together
from .contract import Pairs as Pairs, Player as Player
from .step import Step as Step
