"""Keras: the layers of its files, to canonical form."""
