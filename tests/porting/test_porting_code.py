"""The printed lines are run as they are, in their own framework, and give the weights that the layout has."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from in_every_layout import arrays_of, network
from in_every_layout import written as every_layout
from onnx_files import node, recurrent, weights
from safetensors.numpy import save_file

from rnnverify.adapters.layouts import Layout, lay_out
from rnnverify.canonical import Array
from rnnverify.containers.contents import FrameworkName
from rnnverify.errors import UnsupportedError
from rnnverify.jobs import Order
from rnnverify.native import Runners
from rnnverify.porting.porting_code import porting_code, sources
from rnnverify.runner_process import Limits
from rnnverify.sides import Opened, open_side, parse

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
GATED = (
    "mixed.pt#lstm+gru+rnn",
    "genuine/torch-1.6.0/gru_ra_cell/cell.pt",
    "genuine/torch-1.5.1/gru_ra_bi_sd/model.pt",
    "genuine/onnx-from-torch-2.13.0/lstm_bi_onnx/model.onnx",
    "genuine/flax-0.12.8/gru_ra_2l_msgpack/model.msgpack#GRUCell_0+GRUCell_1",
    "genuine/tf-0.12.1/lstm_peep_proj_ckpt/model.ckpt",
    "genuine/tf-1.15.5/gru_ra_cudnncompat/model.ckpt",
    "genuine/tf-1.2.1/gru_rb_2l_ckpt/model.ckpt",
    "gates/coupled.pb",
    "lstm.eqx",
)
SUFFIXES: dict[FrameworkName, str] = {"torch": "pt", "keras": "keras", "tensorflow": "ckpt", "onnx": "onnx"}

# each case: the arrays of the file in `source`, the code run with nothing else, and the weights that it left
RUN = """
import json, sys
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
            assert {t for n in names["nodes"] for t in n.input[1:] if t} == set(found)
        elif case["framework"] == "keras":
            found = {str(k): array for k, array in enumerate(names["model"].get_weights())}
        else:
            modules = {k: v for k, v in names.items() if type(v).__name__ in ("RNN", "GRU", "LSTM")}
            found = {f"{k}.{n}": p.detach().numpy() for k, m in modules.items() for n, p in m.named_parameters()}
    np.savez(case["found"], **found)
"""


def opened(name: str, fixtures: Path, folder: Path) -> Opened:
    if name != "hand":
        return open_side(parse(str(fixtures / name), "A"))
    # two Linears, one over x and one over h, named so that both need quoting
    rng = np.random.default_rng(0)
    arrays = {"cell.i2h.weight": (4, 3), "cell.i2h.bias": (4,), "cell.h2h.weight": (4, 4), "cell.h2h.bias": (4,)}
    path = folder / "hand.safetensors"
    save_file({key: rng.normal(size=shape).astype(np.float32) for key, shape in arrays.items()}, path)
    return open_side(parse(str(path), "A"))


def written(framework: FrameworkName, sides: Sequence[Opened], folder: Path) -> list[tuple[Layout, Opened] | None]:
    """What the framework makes of each network, read back; None for those that it cannot hold."""
    layouts: list[Layout | None] = []
    orders = []
    for k, side in enumerate(sides):
        path = folder / f"{k}-{framework}.{SUFFIXES[framework]}"
        layouts.append(None)
        with contextlib.suppress(UnsupportedError):
            assert side.network
            layouts[k] = layout = lay_out(side.network, framework, path)
            orders.append(Order(path.name, layout, side.network.input_size, path, SUFFIXES[framework]))
    with Runners(Limits()) as runners:
        runners.write(*orders)
    return [(layout, _read_back(orders.pop(0), layout)) if layout else None for layout in layouts]


def _read_back(order: Order, layout: Layout) -> Opened:
    part = f"#{layout.part}" if layout.part and layout.framework != "keras" else ""
    return open_side(parse(f"{order.path}{part}", "B"))


def code_of(side: Opened, made: tuple[Layout, Opened]) -> str:
    return porting_code(side, sources(side), *made)


def ran(framework: FrameworkName, sides: Sequence[Opened], folder: Path) -> list[tuple[Layout, dict[str, Array]]]:
    """The weights that the code of each network that `framework` holds leaves in its layers, by name."""
    cases, layouts = [], []
    for k, (side, made) in enumerate(zip(sides, written(framework, sides, folder), strict=True)):
        if made is None:
            continue
        np.savez(folder / f"source-{k}.npz", **arrays_of(side))  # type: ignore[arg-type]  # names as they are
        layouts.append(made[0])
        cases.append(
            {
                "framework": framework,
                "source": str(folder / f"source-{k}.npz"),
                "code": code_of(side, made),
                "shapes": {name: array.shape for name, array in made[0].tensors.items()},
                "found": str(folder / f"found-{k}.npz"),
            }
        )
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, "-c", RUN, str(folder / "cases.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [(layout, dict(np.load(str(case["found"])))) for layout, case in zip(layouts, cases, strict=True)]


def called(layout: Layout) -> dict[str, Array]:
    """The arrays of a layout as the code calls them that is run."""
    if layout.framework == "torch":
        return {(key if "." in key else f"rnn.{key}"): array for key, array in layout.tensors.items()}
    if layout.framework == "keras":
        return {str(k): array for k, array in enumerate(layout.tensors.values())}
    return dict(layout.tensors)


@pytest.mark.parametrize("framework", SUFFIXES)
def test_the_code_does_what_the_writer_does(framework: FrameworkName, fixtures: Path, tmp_path: Path) -> None:
    sides = [opened(name, fixtures, tmp_path) for name in SOURCES]
    for name, (layout, found) in zip(SOURCES, ran(framework, sides, tmp_path), strict=True):
        wanted = called(layout)
        assert set(found) == set(wanted), name
        assert all(np.array_equal(found[key], array) for key, array in wanted.items()), name


@pytest.fixture(scope="module")
def in_every_layout(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two directions of GRU and LSTM; `test_lines_of_every_pair` has the other shapes."""
    networks = {
        "lstm": network("lstm", "both ways", 1),
        "after": network("gru", "both ways", 1),
        "before": network("gru", "both ways", 1, reset_after=False),
    }
    return [*every_layout(networks, tmp_path_factory.mktemp("sources")).values()]


@pytest.mark.parametrize("framework", SUFFIXES)
def test_gates_go_from_every_layout(
    framework: FrameworkName, in_every_layout: list[str], fixtures: Path, tmp_path: Path
) -> None:
    """Biases that are added up and lessened by a forget bias are rounded once more than the writer rounds them."""
    sides = [open_side(parse(source, "A")) for source in in_every_layout]
    sides += [opened(name, fixtures, tmp_path) for name in GATED]
    found = ran(framework, sides, tmp_path)
    assert len(found) > 10
    for layout, held in found:
        wanted = called(layout)
        assert set(held) == set(wanted)
        for key, array in wanted.items():
            biases = "bias" in key or key.endswith(".B") or array.ndim == 1
            allowed = np.spacing(np.abs(array) + 1) * biases  # two roundings of half a spacing each
            assert (np.abs(held[key] - array) <= allowed).all(), key


def test_the_lines_bear_the_names_of_the_file(fixtures: Path, tmp_path: Path) -> None:
    side = opened("simple_rnn.h5", fixtures, tmp_path)
    (made,) = written("torch", [side], tmp_path)
    assert made
    code = code_of(side, made).splitlines()
    (kernel,) = (line for line in code if "weight_hh_l0" in line)
    name = "rnn/sequential/rnn/simple_rnn_cell/recurrent_kernel"
    assert kernel == f'    rnn.weight_hh_l0.copy_(torch.from_numpy(source["{name}"].T))'
    assert "    rnn.bias_hh_l0.zero_()" in code
    side = opened("rnn.pt", fixtures, tmp_path)
    (made,) = written("keras", [side], tmp_path)
    assert made and '    source["bias_ih_l0"] + source["bias_hh_l0"],' in code_of(side, made).splitlines()


def test_what_is_computed_has_no_line(fixtures: Path, tmp_path: Path) -> None:
    side = opened("genuine/torch-2.13.0/rnn_a_parametrized/model.pt", fixtures, tmp_path)
    with pytest.raises(UnsupportedError, match="layer 0 recurrent kernel is computed from what the file holds"):
        sources(side)


def test_what_lies_behind_operations_has_lines(tmp_path: Path) -> None:
    stored = {**weights(), "W": weights()["W"].swapaxes(1, 2)}
    before = node("Transpose", ["W"], ["W.t"], perm=[0, 2, 1])
    (tmp_path / "turned.onnx").write_bytes(recurrent(stored, before, inputs=["X", "W.t", "R", "B"]))
    side = open_side(parse(str(tmp_path / "turned.onnx"), "A"))
    (made,) = written("keras", [side], tmp_path)
    assert made and '    source["W"][0],' in code_of(side, made).splitlines()
