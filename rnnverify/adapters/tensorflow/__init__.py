"""TensorFlow 1: the variables of its cells, to canonical form."""
