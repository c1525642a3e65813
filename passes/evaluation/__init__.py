"""Evaluating elementwise functions: precision, blocks that stay in a cache, exact gradients, tables."""
