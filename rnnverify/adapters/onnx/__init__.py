"""ONNX: the recurrent nodes and loops of a graph, to canonical form."""
