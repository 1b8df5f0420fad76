"""BasicRNNCell and Keras cells by their variable names, of every TensorFlow 1 generation."""

import json
from pathlib import Path

import numpy as np
import pytest
from tf_cells import cell, holding

from rnnverify.adapters.reading import Reading
from rnnverify.adapters.tensorflow.adapter import read
from rnnverify.canonical import Array, Network
from rnnverify.containers import tf_checkpoint
from rnnverify.errors import FileError, SelectorError

FIXTURES = Path(__file__).parents[2] / "fixtures"
GENUINE = FIXTURES / "genuine"


def recurrence(network: Network, x: Array) -> Array:
    """(B, T, I) -> (B, T, H), tanh, written out for this test."""
    for layer in network.layers:
        outputs = []
        for d in layer.directions:
            h, y = np.zeros((len(x), d.hidden_size)), np.zeros((*x.shape[:2], d.hidden_size))
            for t in reversed(range(x.shape[1])) if d.reverse else range(x.shape[1]):
                h = np.tanh(x[:, t] @ d.kernel[0] + h @ d.recurrent_kernel[0] + d.bias[0])
                y[:, t] = h
            outputs.append(y)
        x = np.concatenate(outputs, axis=-1)
    return x


@pytest.mark.parametrize(
    ("case", "selector", "output"),
    [
        ("tf-0.12.1/rnn_bi2l_ckpt", None, "y"),
        ("tf-0.12.1/rnn_a_partitioned", None, "y"),
        ("tf-1.0.1/rnn_2l_ckptv1", None, "y"),
        ("tf-1.2.1/rnn_2l_scopes", "layer_1+layer_2", "y"),
        ("tf-1.8.0/rnn_emb_adam_ema_v2", None, "y"),
        ("tf-1.15.5/rnn_a_ckpt", "rnn", "y"),
        ("tf-2.1.4-compat.v1/rnn_a_kerascell", None, "y"),
        ("tf-2.21.0-compat.v1/rnn_f16_ckpt", None, "y_float32_compute"),
    ],
)
def test_genuine_checkpoints_give_the_recorded_states(case: str, selector: str | None, output: str) -> None:
    contents = tf_checkpoint.read(GENUINE / case)
    reading = read(contents, selector)
    with np.load(GENUINE / case / "io.npz") as io:
        x, wanted = io["x"], io[output]
    if json.loads((GENUINE / case / "case.json").read_text())["embedding"]:
        x = contents.tensors["embedding"].read()[x]
    assert np.abs(recurrence(reading.network, x.astype(np.float64)) - wanted).max() < 2e-6
    assert not reading.activation_stated
    assert {*reading.roles, *reading.unused} == set(contents.tensors)
    assert set(reading.recipe.tensors) == {name for name, role in reading.roles.items() if role != "embedding table"}


def test_the_kernel_is_split_at_the_input() -> None:
    tensors = cell("rnn/basic_rnn_cell", 3, 2)
    reading = read(holding(tensors), None)
    (direction,) = reading.network.layers[0].directions
    np.testing.assert_array_equal(direction.kernel[0], tensors["rnn/basic_rnn_cell/kernel"][:3])
    np.testing.assert_array_equal(direction.recurrent_kernel[0], tensors["rnn/basic_rnn_cell/kernel"][3:])
    np.testing.assert_array_equal(direction.bias_input[0], tensors["rnn/basic_rnn_cell/bias"])
    assert not direction.bias_recurrent.any()
    assert reading.roles["rnn/basic_rnn_cell/kernel"] == "layer 0 kernel (rows 0-2) and recurrent kernel (rows 3-4)"
    assert reading.recipe.layers == (
        {
            "input_size": 3,
            "hidden_size": 2,
            "directions": [{"kernel": "rnn/basic_rnn_cell/kernel", "bias": "rnn/basic_rnn_cell/bias"}],
        },
    )


def sizes(reading: Reading) -> list[tuple[int, int, int]]:
    return [(layer.input_size, layer.hidden_size, len(layer.directions)) for layer in reading.network.layers]


@pytest.mark.parametrize(
    ("scopes", "part", "wanted"),
    [
        ({"basic_rnn_cell": (3, 2)}, "basic_rnn_cell", [(3, 2, 1)]),
        ({"a/b/rnn/basic_rnn_cell": (3, 2)}, "a/b/rnn", [(3, 2, 1)]),
        ({f"rnn/multi_rnn_cell/cell_{n}/basic_rnn_cell": (2, 2) for n in range(11)}, "rnn", [(2, 2, 1)] * 11),
        ({"multi_rnn_cell/cell_0/basic_rnn_cell": (3, 2)}, "multi_rnn_cell", [(3, 2, 1)]),
        ({f"enc/{way}/basic_rnn_cell": (3, 2) for way in ("fw", "bw")}, "enc", [(3, 2, 2)]),
        ({f"BiRNN_{way}/basic_rnn_cell": (3, 2) for way in ("FW", "BW")}, "BiRNN", [(3, 2, 2)]),
        (
            {f"bidirectional_rnn/{way}/multi_rnn_cell/cell_0/basic_rnn_cell": (3, 2) for way in ("fw", "bw")},
            "bidirectional_rnn",
            [(3, 2, 2)],
        ),
        (
            {
                f"s/cell_{n}/bidirectional_rnn/{way}/basic_rnn_cell": (n + 3, 2)
                for n in range(2)
                for way in ("bw", "fw")
            },
            "s",
            [(3, 2, 2), (4, 2, 2)],
        ),
    ],
)
def test_names(scopes: dict[str, tuple[int, int]], part: str, wanted: list[tuple[int, int, int]]) -> None:
    tensors = {name: array for scope, size in scopes.items() for name, array in cell(scope, *size).items()}
    reading = read(holding(tensors), None)
    assert (reading.part, sizes(reading)) == (part, wanted)
    assert sizes(read(holding(tensors), reading.part)) == wanted
    for layer in reading.network.layers:
        assert [d.reverse for d in layer.directions] == [False, True][: len(layer.directions)]
    if wanted[0][2] == 2:
        assert reading.assumptions == ("the two directions are concatenated, forward first",)


def test_several_parts_are_listed_ready_to_paste() -> None:
    tensors = {**cell("dec/basic_rnn_cell", 4, 3), **cell("enc/basic_rnn_cell", 2, 4)}
    with pytest.raises(SelectorError, match=r"several recurrent parts; give one of m#dec, m#enc, m#enc\+dec$"):
        read(holding(tensors), None)
    assert sizes(read(holding(tensors), "enc+dec")) == [(2, 4, 1), (4, 3, 1)]
    reading = read(holding(tensors), "dec")
    assert reading.not_compared == ("recurrent part enc (2 tensors)",)
    with pytest.raises(
        FileError, match=r"dec/basic_rnn_cell/kernel \(layer 0\)|enc.*reads 2 features, but layer 0 has 3"
    ):
        read(holding(tensors), "dec+enc")
    for wrong in ("en", "enc+", "+", "enc:ema"):
        with pytest.raises(SelectorError):
            read(holding(tensors), wrong)
    with pytest.raises(SelectorError, match="names a part twice"):
        read(holding(tensors), "enc+enc")


def test_an_outer_scope_selects_its_only_part() -> None:
    tensors = {
        **cell("a/x/rnn/basic_rnn_cell", 2, 2),
        **cell("b/rnn/basic_rnn_cell", 2, 2),
        **cell("b/r/basic_rnn_cell", 2, 2),
    }
    assert read(holding(tensors), "a").part == "a/x/rnn"
    with pytest.raises(SelectorError, match=r"b holds several recurrent parts; give one of m#b/r, m#b/rnn$"):
        read(holding(tensors), "b")


def test_slots_and_averages_are_never_weights() -> None:
    contents = tf_checkpoint.read(GENUINE / "tf-1.8.0/rnn_emb_adam_ema_v2")
    reading = read(contents, None)
    around = {"embedding", "softmax_b", "softmax_w"}
    assert set(reading.roles) == {"rnn/basic_rnn_cell/kernel", "rnn/basic_rnn_cell/bias"} | around
    assert reading.unused["rnn/basic_rnn_cell/kernel/Adam_1"] == "state of the optimizer or the trainer"
    assert "moving average" in reading.unused["rnn/basic_rnn_cell/kernel/ExponentialMovingAverage"]
    assert reading.around.words == ("Embedding 'embedding', 20 tokens", "Dense 'softmax_w', 8 -> 3")
    assert reading.notes[0].endswith("#rnn:ema")
    average = read(contents, "rnn:ema")
    assert average.part == "rnn:ema"
    assert set(average.roles) == {f"{name}/ExponentialMovingAverage" for name in reading.roles}
    assert average.network.fingerprint() != reading.network.fingerprint()


def test_averages_kept_in_a_scope_of_the_trainer() -> None:
    raw = cell("rnn/basic_rnn_cell", 3, 2)
    tensors = {**raw, **{f"train/{name}/ExponentialMovingAverage": array + 1 for name, array in raw.items()}}
    reading = read(holding(tensors), ":ema")
    assert reading.part == "rnn:ema"
    assert set(reading.unused.values()) == {"the moving average was selected in its place"}


def test_keras_cell_without_bias() -> None:
    tensors = {"r/while/simple_rnn_cell/kernel": np.ones((3, 2), np.float32)}
    with pytest.raises(FileError, match="has no recurrent_kernel"):
        read(holding(tensors), None)
    tensors["r/while/simple_rnn_cell/recurrent_kernel"] = np.ones((2, 2), np.float32)
    reading = read(holding(tensors), None)
    assert reading.part == "r"
    assert not reading.network.layers[0].directions[0].has_bias
    assert reading.recipe.layers[0]["directions"] == [
        {"kernel": next(iter(tensors)), "bias": None, "recurrent_kernel": list(tensors)[1]}
    ]


def test_bfloat16_cannot_be_restored_as_float32() -> None:
    recipe = read(holding(cell("rnn/basic_rnn_cell", 3, 2), dtype="bfloat16"), None).recipe
    assert not recipe.loadable
    assert "bfloat16" in recipe.why_not
