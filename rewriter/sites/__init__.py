"""Match: the linear→activation sites of a traced model, and why the other activations are none."""

from rewriter.sites.matching import Matches, match
from rewriter.sites.site import ActivationAddress, Miss, Site

__all__ = ["ActivationAddress", "Matches", "Miss", "Site", "match"]
