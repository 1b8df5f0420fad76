"""Equinox: cells told by their leaves, to canonical form."""
