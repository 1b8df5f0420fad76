"""Graphs of TensorFlow: what the operations around a kernel compute."""
