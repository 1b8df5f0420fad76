"""ONNX models (`.onnx`): the constants of the graph, and the graph itself.

Read by this package's own page of protocol buffers, not by the `onnx` library: so the core reads, inspects and compares
the weights of any `.onnx` without an extra, and in half the time that importing `onnx` takes; the values of gigabytes
stay mapped in the file until they are asked for; and a stranger's file meets only code that checks every length, and
opens no other file than its own data beside it. `onnx` and `onnxruntime` come in where a model is run, in a process of
their own (`runners/run_onnx.py`).
"""

from __future__ import annotations

from pathlib import Path

from rnnverify.containers.contents import Contents
from rnnverify.containers.onnx_graph import read_graph
from rnnverify.containers.onnx_tensors import FLOATS
from rnnverify.errors import printable


def read(path: Path) -> Contents:
    """Every floating-point constant of one axis or more; `metadata["graph"]` is the graph. Raises `FileError`."""
    graph, producer = read_graph(path)
    tensors = {name: t for name, t in graph.constants.items() if t.dtype in FLOATS and t.shape}
    producer = printable(producer, 80)
    writer = f"{producer}, opset {graph.opset}" if producer else f"opset {graph.opset}"
    return Contents(path, "ONNX", "onnx", tensors, writer, metadata={"graph": graph})
