"""A site as it trains; the slots in which sites take turns, and where their states wait meanwhile."""

from .site import SiteState as SiteState
