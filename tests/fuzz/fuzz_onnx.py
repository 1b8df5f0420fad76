"""Mutations of ONNX models: genuine ones, and made ones with operations on weights and data in files beside them."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
from fuzz_checkpoints import mutated_message
from fuzz_values import Sample, fixture, integer, mutated_bytes
from onnx_files import external, graph, model, node, tensor, value, weights

from rnnverify.canonical import Array

_GENUINE = tuple(
    f"genuine/onnx-from-torch-{case}/model.onnx"
    for case in ("1.12.1/rnn_2l_onnx", "1.12.1/rnn_bi_onnx", "1.6.0/gru_ra_onnx", "2.13.0/lstm_bi_onnx")
)
_GENUINE += tuple(
    f"converted/{name}.onnx"
    for name in ("keras_rnn_both_ways", "keras_gru_hard", "keras_lstm_masked", "frozen_gru", "frozen_rnn_lengths")
)
_OPERATIONS = (
    *("Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Concat", "Slice", "Split", "Gather"),
    *("DequantizeLinear", "Neg", "Add", "Sub", "Mul", "Div", "Expand", "Loop"),
)


def onnx(rng: Random) -> Sample:
    data = fixture(rng.choice(_GENUINE))
    changed = mutated_message(rng, data) if rng.random() < 0.8 else mutated_bytes(rng, data)
    return Sample("model.onnx", {"model.onnx": changed})


def onnx_graphs(rng: Random) -> Sample:
    """Sound messages of odd graphs: operations on weights, joints between nodes, data beside the model."""
    op = rng.choice(("RNN", "GRU", "LSTM"))
    way = rng.choice(("forward", "reverse", "bidirectional"))
    arrays: dict[str, Array] = dict(weights(op=op, D=1 + (way == "bidirectional"), I=rng.choice((3, 4))))
    arrays |= {"P": np.ones((1, 12), np.float32), "n": np.array([rng.choice((0, 1, -1, 2, 3))])}
    names = list(arrays)
    nodes = []
    for k in range(rng.randrange(5)):
        read = [rng.choice((*names, *names[-2:], f"t{rng.randrange(6)}")) for _ in range(rng.choice((1, 2, 2, 3, 5)))]
        nodes.append(node(rng.choice(_OPERATIONS), read, [f"t{k}", f"u{k}"], **_attributes(rng)))
        names.append(f"t{k}")
    ways = {"direction": rng.choice((way, way, way, "forward"))}
    for k in range(rng.randrange(1, 4)):
        sound = ["W", "R", "B", "", "", "", "P"][: 7 if op == "LSTM" else 3]
        read = [name if rng.random() < 0.8 else rng.choice((*names, "")) for name in sound]
        outputs = [f"Y{k}", f"h{k}"]
        nodes.append(node(op, ["X" if k == 0 else f"Z{k}", *read], outputs, rng.choice((f"rnn{k}", "a+b")), **ways))
        joint = rng.choice(("Squeeze", "Transpose", "Reshape", "Concat", "Identity", "Add"))
        nodes.append(node(joint, [f"Y{k}", rng.choice(("n", f"Y{k}"))], [f"Z{k + 1}"], **_attributes(rng)))
    rng.shuffle(nodes)
    constants = [tensor(name, array) for name, array in arrays.items()]
    files = {}
    if rng.random() < 0.3:
        location = rng.choice(("w.bin", "../w.bin", "/dev/zero", "sub/../w.bin", ".", "w.bin\0", "model.onnx"))
        stated = {"location": location, "offset": integer(rng), "length": integer(rng)}
        constants[0] = external("W", arrays["W"], **stated)
        files["w.bin"] = arrays["W"].tobytes()
    data = model(graph(nodes, constants, [value("X", (0, 0, 3))], [value("Y0")]), rng.choice((1, 7, 13, 22)))
    files["model.onnx"] = mutated_message(rng, data) if rng.random() < 0.3 else data
    return Sample("model.onnx", files)


def _attributes(rng: Random) -> dict[str, Any]:
    some = [rng.choice((0, 1, 2, -1, integer(rng))) for _ in range(rng.randrange(4))]
    known: dict[str, Any] = {
        "perm": [0, 2, 1],
        "axes": [1],
        "axis": rng.choice((0, 1, -1, 9)),
        "shape": some,
        "to": rng.randrange(24),
    }
    known |= {"starts": some, "ends": some, "split": some}
    return {name: known[name] for name in rng.sample(list(known), rng.randrange(4))}


def onnx_data(rng: Random) -> Sample:
    """ONNX's test data, beside its model."""
    one = node("LSTM", ["X", "W", "R", "B", rng.choice(("", "lens")), "h", rng.choice(("", "c"))], ["Y", "Yh", "Yc"])
    constants = [tensor(name, array) for name, array in weights(op="LSTM").items()]
    before = node("Transpose", ["X0"], ["X"], perm=rng.choice(([1, 0, 2], [0, 1, 2], [2, 0, 1])))
    fed, given = ("X0", "h", "c", "lens"), ("Y", "Yh", "Yc")
    data = model(graph([before, one], constants, [value(name) for name in fed], [value(name) for name in given]))
    x, h, y = (np.ones(shape, np.float32) for shape in ((2, 5, 3), (1, 2, 4), (5, 1, 2, 4)))
    inputs, outputs = (x, h, h, np.full(2, 5, np.int32)), (y, h, h)
    files = {f"input_{k}.pb": tensor(rng.choice((fed[k], "")), array) for k, array in enumerate(inputs)}
    files |= {f"output_{k}.pb": tensor(rng.choice((given[k], "")), array) for k, array in enumerate(outputs)}
    for name in rng.sample([*files], rng.randrange(3)):
        files[name] = mutated_message(rng, files[name])
    for name in rng.sample([*files], rng.randrange(2)):
        files[name[:-4] + f"{rng.randrange(9)}.pb"] = files[name]
    data = mutated_message(rng, data) if rng.random() < 0.4 else data
    folder = "test_data_set_0"
    return Sample(folder, {"model.onnx": data, **{f"{folder}/{name}": content for name, content in files.items()}})
