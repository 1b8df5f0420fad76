"""The printed lines are run as they are, in their own framework, and give the weights that the layout has."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx_files import node, recurrent, weights

from rnnverify.adapters import Reading
from rnnverify.adapters.layouts import lay_out
from rnnverify.canonical import Array
from rnnverify.containers import open_model
from rnnverify.containers.contents import FrameworkName
from rnnverify.errors import UnsupportedError
from rnnverify.porting_code import porting_code
from rnnverify.sides import open_side, parse

SOURCES = (
    "simple_rnn.h5",
    "stacked.keras",
    "bidirectional.keras",
    "rnn.pt",
    "two_parts.pt#below+above",
    "bidirectional.pt",
    "stacked.ckpt",
    "bidirectional.ckpt",
    "hand",
    "genuine/onnx-from-torch-1.12.1/rnn_bi_onnx/model.onnx",
)

# each case: the arrays of the file in `source`, the code run with nothing else, and the weights that it left
RUN = """
import contextlib, json, sys
import numpy as np
for case in json.load(open(sys.argv[1])):
    names = {"source": dict(np.load(case["source"]))}
    if case["framework"] == "tensorflow":
        import os
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        import tensorflow as tf
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            for name, shape in case["shapes"].items():
                tf.compat.v1.get_variable(name, shape)
            exec(case["code"], {**names, "session": session})
            found = {v.op.name: session.run(v) for v in tf.compat.v1.global_variables()}
    else:
        exec(case["code"], names)
        if case["framework"] == "onnx":
            found = {t.name: names["numpy_helper"].to_array(t) for t in names["tensors"]}
            assert {t for n in names["nodes"] for t in n.input[1:]} == set(found)
        elif case["framework"] == "keras":
            found = {str(k): array for k, array in enumerate(names["model"].get_weights())}
        else:
            modules = {k: v for k, v in names.items() if type(v).__name__ in ("RNN", "GRU", "LSTM")}
            found = {f"{k}.{n}": p.detach().numpy() for k, m in modules.items() for n, p in m.named_parameters()}
    np.savez(case["found"], **found)
"""


Arrays = Mapping[str, Array]


def arrays_of(name: str, fixtures: Path, reading: Reading) -> Arrays:
    """The arrays of the file, by its own names."""
    if reading.recipe.framework != "onnx":
        return reading.recipe.tensors
    return {tensor.name: tensor.read() for tensor in open_model(fixtures / name).tensors.values()}


def reading_of(name: str, fixtures: Path, folder: Path) -> Reading:
    if name == "hand":  # two Linears, one over x and one over h, named so that both need quoting
        rng = np.random.default_rng(0)
        arrays = {"cell.i2h.weight": (4, 3), "cell.i2h.bias": (4,), "cell.h2h.weight": (4, 4), "cell.h2h.bias": (4,)}
        from safetensors.numpy import save_file

        path = folder / "hand.safetensors"
        save_file({key: rng.normal(size=shape).astype(np.float32) for key, shape in arrays.items()}, path)
    else:
        path = fixtures / name
    reading = open_side(parse(str(path), "A")).reading
    assert reading
    return reading


def ran(framework: FrameworkName, readings: Sequence[tuple[Reading, Arrays]], folder: Path) -> list[dict[str, Array]]:
    """The weights that the code of each reading leaves in layers of `framework`, by name."""
    cases = []
    for k, (reading, arrays) in enumerate(readings):
        np.savez(folder / f"source-{k}.npz", **dict(arrays))  # type: ignore[arg-type]  # names as they are
        layout = lay_out(reading.network, framework, Path("target"))
        cases.append(
            {
                "framework": framework,
                "source": str(folder / f"source-{k}.npz"),
                "code": porting_code(reading, framework),
                "shapes": {name: array.shape for name, array in layout.tensors.items()},
                "found": str(folder / f"found-{k}.npz"),
            }
        )
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, "-c", RUN, str(folder / "cases.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [dict(np.load(folder / f"found-{k}.npz")) for k in range(len(cases))]


@pytest.mark.parametrize("framework", ["torch", "keras", "tensorflow", "onnx"])
def test_the_code_does_what_the_writer_does(framework: FrameworkName, fixtures: Path, tmp_path: Path) -> None:
    readings = [reading_of(name, fixtures, tmp_path) for name in SOURCES]
    given = [(each, arrays_of(name, fixtures, each)) for name, each in zip(SOURCES, readings, strict=True)]
    for name, reading, found in zip(SOURCES, readings, ran(framework, given, tmp_path), strict=True):
        layout = lay_out(reading.network, framework, Path("target"))
        wanted = {
            "torch": {(key if "." in key else f"rnn.{key}"): array for key, array in layout.tensors.items()},
            "keras": {str(k): array for k, array in enumerate(layout.tensors.values())},
            "tensorflow": dict(layout.tensors),
            "onnx": dict(layout.tensors),
        }[framework]
        assert set(found) == set(wanted), name
        assert all(np.array_equal(found[key], array) for key, array in wanted.items()), name


def test_gates_go_from_pytorch_to_pytorch_and_nowhere_else(fixtures: Path, tmp_path: Path) -> None:
    names = (
        "mixed.pt#lstm+gru+rnn",
        "genuine/torch-1.6.0/gru_ra_cell/cell.pt",
        "genuine/torch-1.5.1/gru_ra_bi_sd/model.pt",
    )
    readings = [reading_of(name, fixtures, tmp_path) for name in names]
    for reading, found in zip(readings, ran("torch", [(r, r.recipe.tensors) for r in readings], tmp_path), strict=True):
        tensors = lay_out(reading.network, "torch", Path("target")).tensors
        assert len(found) == len(tensors) and all(
            np.array_equal(found[key if "." in key else f"rnn.{key}"], array) for key, array in tensors.items()
        )
    foreign = replace(readings[1], recipe=replace(readings[1].recipe, framework="keras"))
    with pytest.raises(UnsupportedError, match="gated cells, whose porting code this version prints from PyTorch to"):
        porting_code(foreign, "torch")


def test_the_lines_bear_the_names_of_the_file(fixtures: Path, tmp_path: Path) -> None:
    code = porting_code(reading_of("simple_rnn.h5", fixtures, tmp_path), "torch").splitlines()
    (kernel,) = (line for line in code if "weight_hh_l0" in line)
    name = "rnn/sequential/rnn/simple_rnn_cell/recurrent_kernel"
    assert kernel == f'    rnn.weight_hh_l0.copy_(torch.from_numpy(source["{name}"].T))'
    assert "    rnn.bias_hh_l0.zero_()" in code
    summed = porting_code(reading_of("rnn.pt", fixtures, tmp_path), "keras")
    assert '    source["bias_ih_l0"] + source["bias_hh_l0"],' in summed.splitlines()


def test_code_for_what_cannot_be_is_refused(fixtures: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="runs backward only"):
        porting_code(reading_of("wrong/go_backwards.keras", fixtures, tmp_path), "torch")


def test_code_for_what_has_no_lines_is_refused(tmp_path: Path) -> None:
    turned = {**weights(), "W": weights()["W"].swapaxes(1, 2)}
    before = node("Transpose", ["W"], ["W.t"], perm=[0, 2, 1])
    (tmp_path / "turned.onnx").write_bytes(recurrent(turned, before, inputs=["X", "W.t", "R", "B"]))
    (tmp_path / "gru.onnx").write_bytes(recurrent(weights(op="GRU"), op="GRU"))
    for name, words in (
        ("turned", "weights that lie behind operations"),
        ("gru", "holds gated cells"),
    ):
        reading = open_side(parse(str(tmp_path / f"{name}.onnx"), "A")).reading
        assert reading
        with pytest.raises(UnsupportedError, match=words):
            porting_code(reading, "onnx")
