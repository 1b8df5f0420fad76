"""nn.RNN and nn.RNNCell: the canonical network computes what PyTorch computed, and nothing unclear is guessed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rnnverify.adapters.reading import Reading
from rnnverify.adapters.torch import adapter
from rnnverify.canonical import Array, Network
from rnnverify.containers import safetensors_file, torch_legacy, torch_zip
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.errors import FileError, SelectorError

FIXTURES = Path(__file__).parents[2] / "fixtures"
RNG = np.random.default_rng(7)


def opened(path: Path) -> Contents:
    if path.suffix == ".safetensors":
        return safetensors_file.read(path)
    return torch_zip.read(path) if path.read_bytes()[:2] == b"PK" else torch_legacy.read(path)


def states(network: Network, x: Array, relu: bool) -> Array:
    """(B, T, D*H) float64 outputs of the last layer."""
    for layer in network.layers:
        outputs = []
        for d in layer.directions:
            h = np.zeros((len(x), d.hidden_size))
            steps = x[:, ::-1] if d.reverse else x
            inputs = steps.astype(np.float64) @ d.kernel[0].astype(np.float64) + d.bias[0]
            y = np.empty((*x.shape[:2], d.hidden_size))
            for t in range(x.shape[1]):
                z = inputs[:, t] + h @ d.recurrent_kernel[0].astype(np.float64)
                h = np.maximum(z, 0) if relu else np.tanh(z)
                y[:, t] = h
            outputs.append(y[:, ::-1] if d.reverse else y)
        x = np.concatenate(outputs, axis=-1)
    return x


@pytest.mark.parametrize(
    ("case", "selector", "recorded"),
    [
        ("torch-1.0.0-py27/rnn_a_ckpt", None, "y"),
        ("torch-1.0.1/rnn_a_cell", None, "y"),
        ("torch-1.0.1/rnn_a_ema", "model", "y"),
        ("torch-1.0.1/rnn_a_views", None, "y"),
        ("torch-1.5.1/rnn_3l_het_user_sd", "rnns.0+rnns.1+rnns.2", "y"),
        ("torch-1.6.0/rnn_bi_sd", None, "y"),
        ("torch-2.13.0/rnn_a_ckpt_np", None, "y"),
        ("torch-2.13.0/rnn_a_parametrized", None, "y"),
        ("torch-2.13.0/rnn_bf16_sd", None, "y_float32_compute"),
        ("torch-2.13.0/rnn_bi2l_safetensors", None, "y"),
        ("torch-2.13.0/rnn_multi_sd", "side", "y_side"),
        ("torch-2.13.0/rnn_nobias_sd", None, "y"),
    ],
)
def test_the_canonical_network_computes_what_pytorch_computed(case: str, selector: str | None, recorded: str) -> None:
    folder = FIXTURES / "genuine" / case
    stated = json.loads((folder / "case.json").read_text())
    contents = opened(folder / stated["main_file"])
    reading = adapter.read(contents, selector)
    assert set(reading.roles) | set(reading.unused) == set(contents.tensors)
    assert not set(reading.roles) & set(reading.unused)
    with np.load(folder / "io.npz") as io:
        got, wanted = states(reading.network, io["x"], stated["activation"] == "relu"), io[recorded]
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < 2e-6


@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("missing_reverse", "lacks weight_hh_l0_reverse"),
        ("nan_hh", "weight_hh_l0 holds 1 of 64"),
        ("inf_bias", "bias_hh_l0 holds 1 of 8"),
        ("shape_bias_1", r"bias_ih_l0 has shape \(1,\), wanted \(8,\)"),
        ("shape_hh_nonsquare", r"weight_hh_l0 has shape \(8, 5\), wanted \(8, 8\)"),
        ("shape_0units", r"weight_ih_l0 has shape \(0, 5\)"),
        ("dtype_meta", "weight_hh_l0 is meta"),
        ("dtype_sparse", "weight_hh_l0 is sparse"),
        ("huge_pt_sizes", "weight_hh_l0 has shape"),
    ],
)
def test_broken_weights_are_one_clear_error(case: str, found: str) -> None:
    with pytest.raises(FileError, match=found) as caught:
        adapter.read(opened(FIXTURES / "bad" / case / "model.pt"), None)
    assert "\n" not in str(caught.value)


def layer(I: int, H: int, prefix: str = "", suffix: str = "_l0", gates: int = 1, P: int = 0) -> dict[str, Array]:
    """The four tensors of one direction of one layer, and the projection to P where that is not 0."""
    shapes: dict[str, tuple[int, ...]] = {
        "weight_ih": (gates * H, I),
        "weight_hh": (gates * H, P or H),
        "bias_ih": (gates * H,),
        "bias_hh": (gates * H,),
    }
    if P:
        shapes["weight_hr"] = (P, H)
    return {f"{prefix}{k}{suffix}": RNG.normal(size=shape).astype(np.float32) for k, shape in shapes.items()}


def holding(arrays: dict[str, Array], **metadata: object) -> Contents:
    tensors = {
        name: StoredTensor(name, array.shape, array.dtype.name, lambda array=array: array)  # type: ignore[misc]
        for name, array in arrays.items()
    }
    return Contents(Path("m.pt"), "PyTorch zip", "torch", tensors, metadata={"root": [], **metadata})


def read(arrays: dict[str, Array], selector: str | None = None, **metadata: object) -> Reading:
    return adapter.read(holding(arrays, **metadata), selector)


def test_wrappers_are_named_and_layers_around_are_read() -> None:
    reading = adapter.read(opened(FIXTURES / "genuine/torch-2.13.0/rnn_emb_compiled/model.pt"), "rnn")
    assert reading.part == "_orig_mod.rnn"
    assert reading.around.words == ("Embedding '_orig_mod.embedding', 20 tokens", "Dense '_orig_mod.fc', 8 -> 3")


def test_every_tensor_has_a_role_or_a_reason() -> None:
    arrays = layer(3, 2, "a.") | layer(3, 2, "b.") | {"fc.weight": np.ones((1, 2)), "n": np.ones(())}
    reading = read(arrays, "a")
    assert reading.roles["a.weight_hh_l0"] == "layer 0 recurrent kernel (transposed)"
    assert reading.unused["b.bias_ih_l0"] == "belongs to the part b, not selected"
    assert reading.unused["fc.weight"] == reading.unused["n"] == "no weight of a recurrent layer"
    assert reading.not_compared == ("fc (1 tensor)",)
    assert not reading.activation_stated


def test_the_recipe_says_where_the_file_keeps_its_tensors() -> None:
    arrays = layer(3, 2, "net.rnn.") | layer(3, 2, "net.rnn.", "_l0_reverse")
    reading = read(arrays, root=["model"])
    (made,) = reading.recipe.layers
    assert made["root"] == ["model"]
    assert made["prefix"] == "net.rnn."
    assert (made["module"], made["input_size"], made["hidden_size"]) == ("RNN", 3, 2)
    assert (made["num_layers"], made["bidirectional"], made["bias"]) == (1, True, True)
    keys = made["keys"]
    assert isinstance(keys, dict)
    assert {key: reading.recipe.tensors[name].tobytes() for key, name in keys.items()} == {
        name.removeprefix("net.rnn."): array.tobytes() for name, array in arrays.items()
    }
    assert reading.recipe.loadable
    json.dumps(reading.recipe.layers)


def test_a_part_of_several_dicts_knows_its_own_root() -> None:
    roots = {"ema/": ["ema"], "model/": ["model"]}
    arrays = layer(3, 2, "ema/rnn.") | layer(3, 2, "model/rnn.")
    (made,) = read(arrays, "model/rnn", roots=roots).recipe.layers
    assert (made["root"], made["prefix"]) == (["model"], "rnn.")


def test_what_torch_refuses_is_not_loadable() -> None:
    recipe = read(layer(3, 2), refused_by_torch="argparse.Namespace").recipe
    assert not recipe.loadable
    assert "argparse.Namespace" in recipe.why_not


def test_a_cell_is_one_layer_in_one_direction() -> None:
    reading = read(layer(3, 2, "cell.", ""))
    assert reading.recipe.layers[0]["module"] == "RNNCell"
    assert len(reading.network.layers) == 1


def test_several_parts_are_listed_ready_to_paste() -> None:
    with pytest.raises(SelectorError) as caught:
        read(layer(3, 2, "enc.") | layer(2, 4, "dec."))
    for choice in ("m.pt#enc,", "m.pt#dec,", "m.pt#enc+dec (stacked"):
        assert choice in str(caught.value)
    with pytest.raises(SelectorError) as caught:
        read(layer(2, 2, "enc.") | layer(2, 2, "dec."))
    assert "+" not in str(caught.value)


@pytest.mark.parametrize("selector", ["module.rnn", "rnn", "_orig_mod.rnn", "rnn."])
def test_a_selector_may_leave_wrappers_out(selector: str) -> None:
    arrays = layer(3, 2, "module.rnn.") | layer(3, 2, "module.other.")
    assert read(arrays, selector).part == "module.rnn"


@pytest.mark.parametrize("selector", ["none", "", "a+none", "a+a"])
def test_a_selector_that_picks_nothing_is_one_clear_error(selector: str) -> None:
    with pytest.raises(SelectorError, match=r"m\.pt"):
        read(layer(2, 2, "a.") | layer(2, 2, "b."), selector)


def test_a_stack_must_fit() -> None:
    arrays = layer(3, 2, "enc.") | layer(2, 4, "dec.")
    assert [each.hidden_size for each in read(arrays, "enc+dec").network.layers] == [2, 4]
    assert read(arrays, "enc+dec").roles["dec.bias_ih_l0"] == "layer 1 input bias"
    with pytest.raises(FileError, match="enc reads 3 features, but dec gives 4"):
        read(arrays, "dec+enc")


def test_no_recurrent_names_say_what_is_there() -> None:
    with pytest.raises(SelectorError, match=r"it has i2h\.weight.*#INPUT,RECURRENT"):
        read({"i2h.weight": np.ones((2, 2))})


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"bias_hh_l0": None}, "lacks bias_hh_l0"),
        ({"weight_ih_l2": np.ones((2, 2))}, "lacks weight_hh_l1|lacks weight_ih_l1"),
        ({"weight_ih_l99": np.ones((2, 2))}, "not of every layer below"),
        ({"weight_ih": np.ones((2, 2))}, "holds weight_ih beside weight_ih_l0"),
        ({"weight_hh_l0": np.ones((2, 2), np.int8)}, "weight_hh_l0 is int8"),
        ({"weight_ih_l0": np.ones(6)}, "weight_ih_l0 has shape"),
        ({"weight_hh_l0": None, "weight_hh_l0_orig": np.ones((2, 2))}, "kept as weight_hh_l0_orig"),
        ({"weight_hh_l0_g": np.ones((2, 1))}, "both whole and as _g"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Array | None], found: str) -> None:
    arrays = layer(3, 2) | change
    with pytest.raises(FileError, match=found):
        read({name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    "names", [("weight_hh_l0_g", "weight_hh_l0_v"), tuple(f"parametrizations.weight_hh_l0.original{k}" for k in (0, 1))]
)
@pytest.mark.parametrize(("shape", "axis"), [((2, 1), 1), ((1, 2), 0), ((), None)])
def test_weight_norm_is_undone(names: tuple[str, str], shape: tuple[int, ...], axis: int | None) -> None:
    arrays = layer(3, 2, "rnn.")
    v = arrays.pop("rnn.weight_hh_l0")
    g = RNG.normal(size=shape).astype(np.float32)
    arrays |= {f"rnn.{names[0]}": np.asarray(g), f"rnn.{names[1]}": v}
    reading = read(arrays)
    wide = v.astype(np.float64)
    whole = g * wide / np.sqrt((wide**2).sum(axis, keepdims=axis is not None))
    assert np.array_equal(reading.network.layers[0].directions[0].recurrent_kernel[0].T, whole.astype(np.float32))
    assert not reading.recipe.loadable
    assert reading.assumptions
    assert reading.network.layers[0].directions[0].rebuilt
    assert not read(layer(3, 2)).network.layers[0].directions[0].rebuilt
    with pytest.raises(FileError, match="zeros"):
        read(arrays | {f"rnn.{names[1]}": np.zeros((2, 2), np.float32)})
