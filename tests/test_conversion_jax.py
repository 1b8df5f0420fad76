"""Networks converted to Flax and Equinox: written, run and restored by them, and put right where a port was wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax_files import leaves, packed
from networks import direction, gated, gates, mixed

import rnnverify
from rnnverify import reference
from rnnverify.adapters.layouts import lay_out
from rnnverify.assumptions import Assumed
from rnnverify.canonical import Array, CellKind, Layer, Network
from rnnverify.containers import open_model
from rnnverify.errors import OutputError, UnsupportedError
from rnnverify.inputs import InputOptions
from rnnverify.jobs import Order
from rnnverify.native import Runners
from rnnverify.options import Options
from rnnverify.runner_process import Limits
from rnnverify.trace import ZERO, Batch

GENUINE = Path(__file__).parents[1] / "fixtures/genuine"
QUICK = Options(inputs=InputOptions(sequences=2, steps=5, probes=False))
FAST = replace(QUICK, engine="reference")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 6, 3)).astype(np.float32)


def two_ways(cell: CellKind, I: int, H: int) -> Layer:
    return Layer((gates(RNG, cell, I, H), gates(RNG, cell, I, H, reverse=True)), cell=cell)


GRU_ON_LSTM = Network((two_ways("lstm", 3, 4), Layer((gates(RNG, "gru", 8, 5),), cell="gru"), two_ways("gru", 5, 2)))
VANILLA = mixed().layers[2]
FOR_NNX = Network((two_ways("lstm", 3, 4), Layer((direction(RNG, 8, 2),))))
NETWORKS: Mapping[str, Network] = {
    "gru": gated("gru"),
    "lstm": gated("lstm"),
    "stack": GRU_ON_LSTM,
    "ambiguous": Network((two_ways("gru", 4, 4),)),  # whose cells could be stacked as well
    "float64": gated("lstm").mapped(lambda array: array.astype(np.float64)),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    folder = tmp_path_factory.mktemp("written")
    orders, paths = [], {}
    every = {**NETWORKS, "rnn": Network((VANILLA,))}
    for name, network in every.items():
        for form, suffix in (("flax", "msgpack"), ("equinox", "eqx")):
            if (name, form) != ("rnn", "equinox"):
                paths[name, form] = folder / f"{name}.{suffix}"
                layout = lay_out(network, form, paths[name, form])  # type: ignore[arg-type]  # a framework by its form
                orders.append(Order(name, layout, network.input_size, paths[name, form], form))
    path = paths["nnx", "nnx"] = folder / "model.nnx.msgpack"
    orders.append(Order("nnx", lay_out(FOR_NNX, "nnx", path), FOR_NNX.input_size, path, "nnx"))
    with Runners(Limits()) as runners:
        runners.write(*orders)
    return paths


def wanted(network: Network, x: Array) -> Array:
    return reference.run(network, (Batch(ZERO, x),)).runs[ZERO].y


def linen_layer(linen: Any, layer: Layer) -> Any:
    name = {"rnn": "SimpleCell", "gru": "GRUCell", "lstm": "LSTMCell"}[layer.cell]
    driven = [linen.RNN(getattr(linen, name)(layer.hidden_size)) for _ in layer.directions]
    return driven[0] if len(driven) == 1 else linen.Bidirectional(*driven)


@pytest.mark.parametrize("name", ["gru", "lstm", "stack", "rnn"])
def test_flax_itself_restores_what_was_written(written: dict[tuple[str, str], Path], name: str) -> None:
    """Into the parameters that its own modules were initialised with, of which none may be left over."""
    import jax
    from flax import linen, serialization

    network = NETWORKS.get(name, Network((VANILLA,)))
    layers = [linen_layer(linen, layer) for layer in network.layers]
    model = layers[0] if len(layers) == 1 else linen.Sequential(layers)
    x = np.resize(X, (2, 6, network.input_size))
    own = model.init(jax.random.PRNGKey(0), x)
    restored = serialization.from_bytes(own, written[name, "flax"].read_bytes())
    shapes = [jax.tree_util.tree_map(np.shape, tree) for tree in (own, restored)]
    assert shapes[0] == shapes[1]
    with jax.default_matmul_precision("highest"):
        assert np.abs(np.asarray(model.apply(restored, x)) - wanted(network, x)).max() < 1e-5


def test_nnx_itself_restores_what_was_written(written: dict[tuple[str, str], Path]) -> None:
    import jax
    from flax import nnx, serialization

    cells = [nnx.LSTMCell(3, 4, rngs=nnx.Rngs(k)) for k in range(2)]
    below = nnx.Bidirectional(*[nnx.RNN(cell) for cell in cells])
    model = nnx.Sequential(below, nnx.RNN(nnx.SimpleCell(8, 2, rngs=nnx.Rngs(2))))
    own = nnx.state(model, nnx.Param)
    restored = serialization.from_bytes(nnx.to_pure_dict(own), written["nnx", "nnx"].read_bytes())
    nnx.replace_by_pure_dict(own, restored)
    nnx.update(model, own)
    with jax.default_matmul_precision("highest"):
        assert np.abs(np.asarray(model(X)) - wanted(FOR_NNX, X)).max() < 1e-5


@pytest.mark.parametrize("name", ["gru", "lstm", "ambiguous"])
def test_equinox_itself_restores_what_was_written(written: dict[tuple[str, str], Path], name: str) -> None:
    import equinox
    import jax

    network = NETWORKS[name]
    make = {"gru": equinox.nn.GRUCell, "lstm": equinox.nn.LSTMCell}[network.layers[0].cell]
    like = [
        make(network.input_size, layer.hidden_size, key=jax.random.PRNGKey(0))
        for layer in network.layers
        for _ in layer.directions
    ]
    cells = equinox.tree_deserialise_leaves(written[name, "equinox"], like)
    x = np.resize(X, (6, network.input_size))

    def run(cell: Any, steps: Array) -> Array:
        h = np.zeros(network.layers[0].hidden_size, np.float32)
        state = (h, h) if network.layers[0].cell == "lstm" else h
        found = []
        for step in steps:
            state = cell(step, state)
            found.append(np.asarray(state[0] if isinstance(state, tuple) else state))
        return np.stack(found)

    outputs = [run(cells[0], x), *[run(cell, x[::-1])[::-1] for cell in cells[1:]]]
    assert np.abs(np.concatenate(outputs, axis=1) - wanted(network, x[None])[0]).max() < 1e-5


@pytest.mark.parametrize("name", ["stack", "ambiguous", "float64"])
def test_both_run_alike(written: dict[tuple[str, str], Path], name: str) -> None:
    """Only rounding is between what their own cells make of what was written."""
    parts = {
        "stack": "#LSTMCell_0,LSTMCell_1+GRUCell_0+GRUCell_1,GRUCell_2",
        "ambiguous": "#GRUCell_0,GRUCell_1",
    }
    sides = (f"{written[name, 'flax']}", f"{written[name, 'equinox']}{parts.get(name, '')}")
    result = rnnverify.compare(*sides, options=QUICK)
    assert result.verdict in ("IDENTICAL", "EQUIVALENT") and {side.engine for side in result.sides} == {"native"}


def test_cells_that_could_be_a_stack_are_kept_as_the_pair_they_were(
    written: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    made = rnnverify.convert(written["ambiguous", "flax"], tmp_path / "port.eqx", FAST)
    assert made.exit_code == 0 and made.part == "GRUCell_0,GRUCell_1" and made.target.endswith("#GRUCell_0,GRUCell_1")
    assert rnnverify.inspect(tmp_path / "port.eqx").shape.startswith("2 layers")
    assert "equinox.tree_serialise_leaves" in made.written_by and "jax" in made.written_by


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("keras-2.2.4/gru_ra_bi_h5/model.h5", "port.msgpack"),
        ("keras-2.2.4/lstm_hs_h5/model.h5", "port.nnx.msgpack"),
        ("flax-0.12.8/gru_ra_2l_msgpack/model.msgpack", "port.flax.safetensors"),
        ("flax-0.12.8/rnn_relu_msgpack/model.msgpack", "port.nnx.npz"),
        ("flax-0.12.8/lstm_2l_msgpack/model.msgpack", "port.eqx"),
    ],
)
def test_a_port_of_a_genuine_file_is_kept(tmp_path: Path, source: str, target: str) -> None:
    options = QUICK if target in ("port.msgpack", "port.eqx") else FAST  # engines, each of which takes its time
    options = replace(options, assumed=Assumed(("relu",))) if "relu" in source else options
    made = rnnverify.convert(GENUINE / source, tmp_path / target, options)
    assert made.exit_code == 0 and made.files == (str(tmp_path / target),)
    assert rnnverify.inspect(made.target).shape.partition(",")[0] == made.shape.partition(",")[0]


def test_the_lines_that_would_write_it_are_shown(fixtures: Path, tmp_path: Path) -> None:
    code = rnnverify.convert(fixtures / "gru.eqx", tmp_path / "port.msgpack", FAST, show_code=True).code
    assert 'flat["params/cell/ir/kernel"] = source["leaf 0"][:8].T' in code


def test_what_one_of_them_cannot_hold_leaves_nothing(fixtures: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"port.eqx: layer 0 is a vanilla recurrent layer, and Equinox has a"):
        rnnverify.convert(fixtures / "rnn.pt", tmp_path / "port.eqx", FAST)
    with pytest.raises(
        UnsupportedError, match=r"nnx.GRUCell has none there; convert to linen, which has \(--to flax\)"
    ):
        rnnverify.convert(fixtures / "gru.eqx", tmp_path / "port.msgpack", FAST, to="nnx")
    with pytest.raises(OutputError, match="is the source, which is never replaced"):
        rnnverify.convert(fixtures / "gru.eqx", fixtures / "gru.eqx", FAST, force=True)
    assert not list(tmp_path.iterdir())


def test_a_wrong_flax_port_is_put_right_under_its_own_names(fixtures: Path, tmp_path: Path) -> None:
    tensors = open_model(fixtures / "simple_cell.msgpack").tensors
    arrays = {name.rpartition("cell/")[2]: tensor.read() for name, tensor in tensors.items()}
    cell = {
        "i": {"kernel": arrays["i/kernel"], "bias": arrays["i/bias"]},
        "h": {"kernel": np.ascontiguousarray(arrays["h/kernel"].T)},
    }
    (tmp_path / "wrong.msgpack").write_bytes(packed({"params": {"encoder": {"SimpleCell_0": cell}}}))
    result = put_right(fixtures / "simple_rnn.h5", tmp_path / "wrong.msgpack", tmp_path / "right.msgpack")
    assert result.fixed and result.fixed.verdict == "IDENTICAL" and "as Flax msgpack" in result.fixed.note
    right = {name: tensor.read() for name, tensor in open_model(tmp_path / "right.msgpack").tensors.items()}
    place = "params/encoder/SimpleCell_0/"
    assert set(right) == {place + name for name in ("i/kernel", "i/bias", "h/kernel")}
    assert np.array_equal(right[place + "h/kernel"], arrays["h/kernel"])


def test_a_wrong_flat_port_is_put_right_in_its_own_form(tmp_path: Path) -> None:
    contents = open_model(GENUINE / "flax-0.12.8/lstm_bi_npz/params.npz")
    arrays: dict[str, Any] = {name: tensor.read() for name, tensor in contents.tensors.items()}
    wrong = {name: array * (-1 if name.endswith("hf/kernel") else 1) for name, array in arrays.items()}
    np.savez(tmp_path / "wrong.npz", **wrong)
    result = put_right(contents.path, tmp_path / "wrong.npz", tmp_path / "right.npz")
    assert result.fixed and result.fixed.verdict == "IDENTICAL" and "as npz of Flax" in result.fixed.note
    with np.load(tmp_path / "right.npz") as right:
        assert {*right} == {name.replace("['", "/").replace("']", "").strip("/") for name in arrays}


def test_a_wrong_equinox_port_is_put_right(fixtures: Path, tmp_path: Path) -> None:
    arrays = [tensor.read() for tensor in open_model(fixtures / "gru.eqx").tensors.values()]
    swapped = np.concatenate([np.split(arrays[0], 3)[k] for k in (1, 0, 2)])
    (tmp_path / "wrong.eqx").write_bytes(leaves([swapped, *arrays[1:]]))
    result = put_right(fixtures / "gru.eqx", tmp_path / "wrong.eqx", tmp_path / "right.eqx")
    assert result.fixed and result.fixed.verdict == "IDENTICAL" and "as Equinox leaves" in result.fixed.note
    assert (tmp_path / "right.eqx").read_bytes() == (fixtures / "gru.eqx").read_bytes()


def test_what_cannot_stand_in_is_a_sentence(fixtures: Path, tmp_path: Path) -> None:
    tensors = open_model(fixtures / "bidirectional.pt").tensors
    turned: dict[str, Any] = {name: -tensor.read() for name, tensor in tensors.items()}
    np.savez(tmp_path / "turned.npz", **turned)
    result = put_right(tmp_path / "turned.npz", fixtures / "bidirectional_nnx", tmp_path / "right.msgpack")
    assert result.fixed and "is an Orbax checkpoint, which this version reads and does not write" in result.fixed.note
    result = put_right(fixtures / "simple_rnn.h5", fixtures / "gru.eqx", tmp_path / "right.eqx")
    assert result.fixed and "is a vanilla recurrent layer, and Equinox has" in result.fixed.note
    assert [path.name for path in tmp_path.iterdir()] == ["turned.npz"]


def put_right(baseline: Path, candidate: Path, target: Path) -> rnnverify.Comparison:
    sources = [str(baseline), str(candidate)]
    return rnnverify.write_fixed(rnnverify.compare(*sources, options=FAST), sources, target, FAST)
