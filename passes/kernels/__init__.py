"""Fused evaluation: an elementwise function of several inputs and its exact gradient, one pass over memory each."""
