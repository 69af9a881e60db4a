"""Volumes on disk as sites: IXI, BraTS, BIDS or any folder with a pattern, prepared once and reused."""

from .layout import Kind, Layout, OnError

__all__ = ["Kind", "Layout", "OnError"]
