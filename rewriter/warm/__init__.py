"""Warm starts: a rewritten model takes over what the trained original knows."""

from rewriter.warm.record import SiteWarmth, WarmRecord
from rewriter.warm.warming import OnProgress, warm_start

__all__ = ["OnProgress", "SiteWarmth", "WarmRecord", "warm_start"]
