"""PyTorch: its modules and cells, to canonical form."""
