"""What Flax and Equinox have in common: cells in a tree of arrays."""
