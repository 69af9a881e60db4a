"""A folder of volumes (IXI, BraTS, BIDS, or any that a pattern describes), prepared once and then reused."""

from .layout import Kind, Layout, OnError

__all__ = ["Kind", "Layout", "OnError"]
