"""Flax: linen and nnx cells, to canonical form."""
