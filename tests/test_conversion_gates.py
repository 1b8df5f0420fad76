"""GRU and LSTM converted to Keras: written by Keras, read back as they were, and held against their source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import direction, gated, gates, mixed

from rnnverify.adapters.layouts import lay_out
from rnnverify.assumptions import Assumed
from rnnverify.canonical import Layer, Network
from rnnverify.conversion import convert
from rnnverify.errors import UnsupportedError
from rnnverify.inputs import InputOptions
from rnnverify.jobs import Order
from rnnverify.native import Runners
from rnnverify.options import Options
from rnnverify.runner_process import Limits
from rnnverify.sides import open_side, parse

GENUINE = Path(__file__).parents[1] / "fixtures/genuine"
QUICK = Options(inputs=InputOptions(sequences=2, steps=5, probes=False))
RNG = np.random.default_rng(0)
BOTH = (gates(RNG, "lstm", 3, 4), gates(RNG, "lstm", 3, 4, reverse=True))
BACKWARD = Layer((gates(RNG, "gru", 8, 5, reverse=True),), cell="gru", time_restored=False)
NETWORKS = {
    "mixed": replace(mixed(), layers=(mixed().layers[0], BACKWARD, Layer((direction(RNG, 5, 3),)))),
    "before": gated("gru", reset_after=False, activation="hard_sigmoid"),
    "both ways": Network((Layer(BOTH, cell="lstm", merge="sum"),)),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    folder = tmp_path_factory.mktemp("written")
    orders, paths = [], {}
    for name, network in NETWORKS.items():
        for form in ("h5", "keras"):
            path = folder / f"{name}.{form}"
            orders.append(Order(name, lay_out(network, "keras", path), network.input_size, path, form))
            paths[name, form] = path
    with Runners(Limits()) as runners:
        runners.write(*orders)
    return paths


def test_read_after_write_is_the_identity(written: dict[tuple[str, str], Path]) -> None:
    for (name, form), path in written.items():
        side, network = open_side(parse(str(path), "A")), NETWORKS[name]
        assert side.network and side.reading and side.reading.activation_stated and not side.reading.open
        assert [y.formula for y in side.network.layers] == [y.formula for y in network.layers], (name, form)
        for (_, layer, found), (_, _, wanted) in zip(side.network.directions(), network.directions(), strict=True):
            assert np.array_equal(found.kernel, wanted.kernel), (name, form)
            assert np.array_equal(found.recurrent_kernel, wanted.recurrent_kernel) and found.reverse == wanted.reverse
            keeps = layer.cell == "gru" and layer.gating.reset_after
            assert np.array_equal(found.bias_input, wanted.bias_input) == keeps
            assert np.array_equal(found.bias, wanted.bias if keeps else wanted.bias.astype(np.float32))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("keras-2.2.4/gru_ra_bi_h5/model.h5", "port.weights.h5"),
        ("keras-1.2.2/lstm_bi_weights/weights.h5", "port.keras"),
        ("keras-3.15.1/gru_nobias_h5/model.h5", "port.h5"),
    ],
)
def test_a_port_of_a_genuine_file_is_kept(tmp_path: Path, source: str, target: str) -> None:
    left_open = ("sigmoid",) if source.endswith("weights.h5") else ()
    options = replace(QUICK, assumed=Assumed(gate_activations=left_open))
    result = convert(GENUINE / source, tmp_path / target, options)
    assert result.exit_code == 0 and (tmp_path / target).exists()


def test_what_the_gates_of_keras_2_computed_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="hard_sigmoid of Keras 1 and 2"):
        convert(GENUINE / "keras-2.2.4/lstm_hs_h5/model.h5", tmp_path / "port.keras", QUICK)
    assert not list(tmp_path.iterdir())


def test_code_comes_with_gates(tmp_path: Path) -> None:
    made = convert(GENUINE / "torch-1.5.1/gru_ra_bi_sd/model.pt", tmp_path / "port.keras", QUICK, show_code=True)
    assert made.exit_code == 0 and "reset_after=True" in made.code
    assert 'source["weight_ih_l0"][5:10].T' in made.code


def test_code_is_refused_before_a_file_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="leave out --show-code"):
        convert(GENUINE / "torch-2.13.0/rnn_a_parametrized/model.pt", tmp_path / "p.keras", QUICK, show_code=True)
    assert not list(tmp_path.iterdir())
