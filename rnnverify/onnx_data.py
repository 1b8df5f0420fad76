"""ONNX's test data beside a model: a folder `test_data_set_0` of input_0.pb, ..., output_0.pb, ..., read as a trace.

Each file is one TensorProto, the k-th input or output of the graph (onnx/backend/test, onnxruntime_perf_test). What
each of them is, only the graph can tell: so the model has to lie in the folder above, as it always does. Whoever
recorded the outputs stays unknown: this is a recording like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from rnnverify.adapters.onnx.adapter import Found, find
from rnnverify.adapters.onnx.parts import Part, intact
from rnnverify.canonical import Array
from rnnverify.containers import open_model
from rnnverify.containers.onnx_tensors import stored_tensor
from rnnverify.containers.protobuf import MalformedError, parse
from rnnverify.containers.raw_span import read_span
from rnnverify.errors import FileError, UnsupportedError, printable
from rnnverify.trace import FROM_H0, LENGTHS, ZERO, Batch, Run, Trace
from rnnverify.trace_file import check_run, read_lengths

_FILE = re.compile(r"(input|output)_(\d{1,6})\.pb")
_PASSES = {"Identity", "Cast", "Dropout"}
_FARTHEST = 64  # operations between an input of the graph and the node that reads it
_ADVICE = "give an .npz with x (B, T, I) and y (B, T, F)"


def load_test_data(path: Path) -> Trace:
    """The recording in the folder `path`. Raises FileError where it does not fit the model above it, and
    UnsupportedError where it holds no outputs of every step of the recurrent nodes."""
    found = find(open_model(_model(path)), None)
    inputs = dict(_named(path, "input", tuple(found.graph.inputs)))
    outputs = dict(_named(path, "output", found.graph.outputs))
    with intact(found.contents.path):
        return _trace(path, found, inputs, outputs)


def _trace(path: Path, found: Found, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Trace:
    used: set[str] = set()
    x = _x(path, found, inputs, used)
    y = _y(path, found, outputs, used)
    parts = [part for level in found.stack.levels for part in level.parts]
    lengths = _lengths(path, found, parts, inputs, x, used)
    h0, c0 = (_initial(path, found, parts, inputs, k, used) for k in (0, 1))
    h_n, c_n = (_finals(parts, outputs, k, used) for k in (0, 1))
    if lengths is not None and h0:
        words = "has sequences of different length, and initial states"
        raise UnsupportedError(path, words, f"record one without the other, or {_ADVICE}")
    batch = Batch(FROM_H0, x, h0, c0 or None) if h0 else Batch(ZERO if lengths is None else LENGTHS, x, lengths=lengths)
    run = Run(batch, y, h_n, c_n=c_n)
    check_run(path, run, "")
    provenance = {"form": "ONNX test data", "framework": "onnx", "source": found.contents.path.name}
    left = tuple(printable(name) for name in (*inputs, *outputs) if name not in used)
    return Trace({batch.name: run}, provenance, left)


def _model(path: Path) -> Path:
    folder = path.resolve().parent
    usual = folder / "model.onnx"
    models = [usual] if usual.is_file() else sorted(folder.glob("*.onnx"))
    if len(models) != 1:
        found = f"has {len(models) or 'no'} models in the folder above it, one of which would say what its tensors are"
        raise FileError(path, found, f"put its model.onnx there, or {_ADVICE}")
    return models[0]


def _named(path: Path, kind: str, names: tuple[str, ...]) -> Iterator[tuple[str, Array]]:
    """The tensors of one kind, by their names in the graph: those that they state, else by their number."""
    numbered = {int(m[2]): file for file in path.iterdir() if (m := _FILE.fullmatch(file.name)) and m[1] == kind}
    for k, file in sorted(numbered.items()):
        try:
            message = parse(memoryview(read_span(file, 0, file.stat().st_size).data))
            tensor = stored_tensor(file, message, message.text(8) or f"{kind}_{k}")
        except MalformedError as error:
            raise FileError(file, f"is no intact tensor: {error}", "record it again") from error
        if tensor.name not in names and k >= len(names):
            raise FileError(file, f"is {kind} {k}, and the model has {len(names)}", "give the data of this very model")
        yield tensor.name if tensor.name in names else names[k], tensor.read()


def _x(path: Path, found: Found, inputs: Mapping[str, Array], used: set[str]) -> Array:
    """(B, T, I): what the lowest nodes read, brought into the order of axes in which this package has it."""
    part = found.stack.levels[0].parts[0]
    tensor, axes = part.reads, "BTI" if part.batch_first else "TBI"
    for _ in range(_FARTHEST):
        node = found.graph.producers.get(tensor)
        perm = node.integers("perm") if node and node.op == "Transpose" else None
        if node is None or node.domain or (node.op not in _PASSES and sorted(perm or ()) != [0, 1, 2]):
            break
        if perm:
            axes = "".join(axes[perm.index(k)] for k in range(3))
        tensor = node.input(0)
    if tensor not in inputs:
        shown = printable(part.name, 80)
        words = f"holds no input of {shown}, which reads {_source(found, tensor)}"
        raise UnsupportedError(path, words, f"record what goes into the node: {_ADVICE}")
    used.add(tensor)
    x = inputs[tensor]
    if x.ndim != 3:
        raise FileError(path, f"{printable(tensor)} has the shape {x.shape}", "wanted three axes")
    ordered: Array = x.transpose([axes.index(axis) for axis in "BTI"])
    return ordered


def _source(found: Found, tensor: str) -> str:
    node = found.graph.producers.get(tensor)
    return f"what {printable(node.op, 40)} gives" if node else printable(tensor, 80)


def _y(path: Path, found: Found, outputs: Mapping[str, Array], used: set[str]) -> Array:
    """(B, T, F): the outputs of every step of the uppermost level."""
    top = found.stack.levels[-1]
    for name, array in outputs.items():
        flow = found.flows.flow(name)
        if flow is None or flow.blocks != top.blocks or flow.merge != top.merge or array.ndim != len(flow.axes):
            continue
        used.add(name)
        ordered: Array = array.transpose([flow.axes.index(axis) for axis in "BTDF" if axis in flow.axes])
        return np.concatenate(list(np.moveaxis(ordered, 2, 0)), axis=2) if "D" in flow.axes else ordered
    words = f"holds no outputs of every step of {printable(top.name, 80)}"
    raise UnsupportedError(path, words, f"make its Y an output of the model, or {_ADVICE}")


def _lengths(
    path: Path, found: Found, parts: list[Part], inputs: Mapping[str, Array], x: Array, used: set[str]
) -> Array | None:
    """(B,): where each sequence ends, by sequence_lens; None where all run to the end."""
    told: list[Array] = []
    if not x.size:
        return None  # which is refused where x is looked at
    for tensor in dict.fromkeys(name for part in parts for name in part.lengths or ("",)):
        stated = found.values.integers(tensor) if tensor and tensor not in inputs else None
        used.add(tensor)
        lengths = inputs[tensor] if tensor in inputs else np.array(stated or [x.shape[1]] * len(x))
        told.append(read_lengths(path, {"lengths": lengths}, x))
    if any(not np.array_equal(lengths, told[0]) for lengths in told):
        raise UnsupportedError(path, "has nodes with other sequence_lens than others", _ADVICE)
    return None if (told[0] == x.shape[1]).all() else told[0]


def _initial(
    path: Path, found: Found, parts: list[Part], inputs: Mapping[str, Array], k: int, used: set[str]
) -> tuple[Array, ...]:
    """Initial states (B, H) of every direction that has them, h (k = 0) or c (1); () where all are zeros."""
    states: list[Array] = []
    parts = [part for part in parts if k == 0 or part.op == "LSTM"]
    for part in parts:
        tensor = part.initial[k]
        if tensor in inputs:
            used.add(tensor)
            states += _by_direction(part, inputs[tensor])
        elif tensor and not found.values.zeros(tensor):
            words = f"starts {printable(part.name, 80)} from states that {_source(found, tensor)}"
            raise UnsupportedError(path, words, f"record from zero states, or {_ADVICE}")
    if not any(state.any() for state in states):
        return ()
    if len(states) != sum(len(part.ways) for part in parts):
        raise UnsupportedError(path, "has initial states for some nodes only", f"record all of them, or {_ADVICE}")
    return tuple(states)


def _finals(parts: list[Part], outputs: Mapping[str, Array], k: int, used: set[str]) -> tuple[Array, ...]:
    """Final states (B, H) of every direction, h (k = 0) or c (1); () where not all were recorded."""
    parts = [part for part in parts if k == 0 or part.op == "LSTM"]
    names = [part.finals[k] for part in parts]
    if not all(name in outputs for name in names):
        return ()
    used.update(names)
    return tuple(state for part, name in zip(parts, names, strict=True) for state in _by_direction(part, outputs[name]))


def _by_direction(part: Part, states: Array) -> list[Array]:
    """(D, B, H), or (B, D, H) of a batch-first node, as (B, H) of each direction; of a loop it is that already."""
    if part.loop:
        return [states]
    return list(np.moveaxis(states, 1, 0) if part.batch_first and states.ndim == 3 else states)
