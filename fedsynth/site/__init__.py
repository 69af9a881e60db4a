"""A site as it trains: its nets, optimisers, memory and data."""

from .site import SiteState as SiteState
