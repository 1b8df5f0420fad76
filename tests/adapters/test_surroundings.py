"""Embeddings and dense layers: taken where a file leaves one way to connect them, and else named as not compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax_trees import contents as flax_tree
from flax_trees import linen
from keras_models import functional, held, held_by_group, layer, named, numbered, rnn, sequential, weights
from onnx_files import graph, model, node, tensor, value
from onnx_files import weights as onnx_weights
from tf_cells import cell, holding

from rnnverify.adapters.equinox import adapter as equinox
from rnnverify.adapters.flax import adapter as flax
from rnnverify.adapters.keras import adapter as keras
from rnnverify.adapters.onnx import adapter as onnx
from rnnverify.adapters.reading import Reading
from rnnverify.adapters.tensorflow import adapter as tensorflow
from rnnverify.adapters.torch import adapter as torch
from rnnverify.canonical import Array
from rnnverify.containers import open_model
from rnnverify.containers.contents import Contents, StoredTensor

RNG = np.random.default_rng(5)
V, I, H, O = 7, 3, 4, 2


def some(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def heads(reading: Reading) -> list[tuple[str, tuple[int, ...], str, bool]]:
    head = reading.around.head
    return [(d.name, d.kernel.shape, d.activation, d.stated) for d in head.layers] if head else []


def table(reading: Reading) -> str:
    return reading.around.embedding.name if reading.around.embedding else ""


def check_recipe(reading: Reading) -> None:
    """What the runner gets are the very arrays of the canonical form."""
    assert reading.around.head is not None
    for spec, dense in zip(reading.recipe.head, reading.around.head.layers, strict=True):
        kernel = reading.recipe.tensors[str(spec["kernel"])]
        assert np.array_equal(kernel.T if spec["transposed"] else kernel, dense.kernel)
        assert not spec["bias"] or np.array_equal(reading.recipe.tensors[str(spec["bias"])], dense.bias)
    assert not {*reading.roles} & {*reading.unused}


def torch_contents(arrays: dict[str, Array], **metadata: Any) -> Contents:
    tensors = {n: StoredTensor(n, a.shape, str(a.dtype), lambda a=a: a) for n, a in arrays.items()}  # type: ignore[misc]
    return Contents(Path("m.pt"), "PyTorch zip", "torch", tensors, metadata={"root": [], **metadata})


def torch_rnn(prefix: str = "rnn.", I: int = I, H: int = H) -> dict[str, Array]:
    shapes = {"weight_ih_l0": (H, I), "weight_hh_l0": (H, H), "bias_ih_l0": (H,), "bias_hh_l0": (H,)}
    return {prefix + name: some(*shape) for name, shape in shapes.items()}


def linear(name: str, F: int, O: int, bias: bool = True) -> dict[str, Array]:
    return {f"{name}.weight": some(O, F)} | ({f"{name}.bias": some(O)} if bias else {})


EMBEDDED = {"emb.weight": some(V, I)}


@pytest.mark.parametrize(
    ("arrays", "embedding", "dense"),
    [
        (EMBEDDED | torch_rnn() | linear("fc", H, O), "emb", ["fc"]),
        (torch_rnn() | linear("out", 5, O) | linear("in", H, 5), "", ["in", "out"]),
        (torch_rnn() | linear("fc", H, O, bias=False), "", ["fc"]),
        (torch_rnn() | {"n_averaged": np.array(3)} | linear("fc", H, O), "", ["fc"]),
        ({"emb.weight": some(V, 4)} | torch_rnn(I=4) | linear("fc", H, O), "emb", ["fc"]),
        # nothing is guessed: two heads, another kind of layer, two tables, two recurrent parts, a table or a Linear
        (torch_rnn() | linear("a", H, O) | linear("b", H, O), "", []),
        (torch_rnn() | linear("fc", H, O) | {"norm.weight": some(H), "norm.bias": some(H)}, "", []),
        (EMBEDDED | {"other.weight": some(9, I)} | torch_rnn(), "", []),
        (torch_rnn("below.") | torch_rnn("above.", H) | linear("fc", H, O), "", []),
        ({"proj.weight": some(V, 4)} | torch_rnn(I=4), "", []),
        (torch_rnn() | linear("fc", H + 1, O), "", []),
        (torch_rnn() | linear("a", H, H) | linear("b", H, H), "", []),
    ],
)
def test_torch_by_shapes(arrays: dict[str, Array], embedding: str, dense: list[str]) -> None:
    several = "below.weight_ih_l0" in arrays
    found = torch.read(torch_contents(arrays), "below" if several else None)
    assert table(found) == embedding and [name for name, *_ in heads(found)] == dense
    assert bool(found.around.assumptions) == bool(embedding or dense)
    assert {*found.roles, *found.unused} == {*arrays}
    if dense:
        check_recipe(found)
        assert not any(stated for *_, stated in heads(found)) and not found.not_compared
    elif len(arrays) > 4 and not several:
        assert found.not_compared


def test_torch_by_what_a_whole_module_states() -> None:
    arrays = torch_rnn(I=4) | linear("head.0", H, 5) | linear("head.3", 5, O) | {"words.weight": some(V, 4)}
    classes = {"head.": "container.Sequential", "head.0.": "linear.Linear", "head.1.": "activation.ReLU"}
    classes |= {"head.2.": "dropout.Dropout", "head.3.": "linear.Linear", "words.": "sparse.Embedding"}
    modules = {name: {"class": f"torch.nn.modules.{end}"} for name, end in classes.items()}
    found = torch.read(torch_contents(arrays, modules=modules), None)
    assert table(found) == "words"
    assert heads(found) == [("head.0", (H, 5), "relu", True), ("head.3", (5, O), "linear", False)]
    modules["head.0."] = {"class": "torch.nn.modules.batchnorm.Strange"}
    assert not heads(torch.read(torch_contents(arrays, modules=modules), None))


def test_torch_keeps_to_one_state_dict_of_several() -> None:
    arrays = {f"{at}/{name}": a for at in ("ema", "model") for name, a in (torch_rnn() | linear("fc", H, O)).items()}
    roots = {"ema/": ["ema"], "model/": ["model"]}
    found = torch.read(torch_contents(arrays, roots=roots), "model/rnn")
    assert [name for name, *_ in heads(found)] == ["model/fc"]
    check_recipe(found)


@pytest.mark.parametrize(
    ("more", "embedding", "dense"),
    [
        ({"Dense_0/kernel": some(H, O), "Dense_0/bias": some(O)}, "", ["Dense_0"]),
        ({"Dense_0/kernel": some(H, O), "Embed_0/embedding": some(V, I)}, "Embed_0", ["Dense_0"]),
        ({"Dense_0/kernel": some(H, 5), "Dense_1/kernel": some(5, O)}, "", ["Dense_0", "Dense_1"]),
        ({"Dense_0/kernel": some(H, O), "LayerNorm_0/scale": some(H)}, "", []),
        ({"Dense_0/kernel": some(H + 1, O)}, "", []),
        ({"a/embedding": some(V, I), "b/embedding": some(V, I)}, "", []),
    ],
)
def test_flax(more: dict[str, Array], embedding: str, dense: list[str]) -> None:
    arrays = linen("SimpleCell", I=I, H=H) | {f"params/{name}": array for name, array in more.items()}
    found = flax.read(flax_tree(arrays), None)
    assert table(found) == embedding and [name for name, *_ in heads(found)] == dense
    assert {*found.roles, *found.unused} == {*arrays}
    if dense:
        check_recipe(found)
        assert not found.not_compared
    else:
        assert found.not_compared


def gru(I: int) -> list[Array]:
    return [some(3 * H, I), some(3 * H, H), some(3 * H), some(H)]


@pytest.mark.parametrize(
    ("before", "behind", "I", "embedding", "dense"),
    [
        ([some(V, I)], [some(O, H), some(O)], I, "leaf 0", [("leaf 5", "leaf 6")]),
        ([], [some(O, 5), some(O), some(5, H)], I, "", [("leaf 6", ""), ("leaf 4", "leaf 5")]),  # not in that order
        ([some(V, H)], [some(V, H), some(V)], H, "leaf 0", [("leaf 5", "leaf 6")]),
        ([some(V, H)], [], H, "leaf 0", []),  # or a Linear, which would stand behind
        ([], [some(V, H)], H, "", [("leaf 4", "")]),  # or a table, which would stand before
        ([some(V, H)], [some(5, H)], H, "leaf 0", [("leaf 5", "")]),
        ([], [some(V, I), np.float32(0.1)], I, "leaf 4", []),
        ([], [some(H, H), some(H), some(H, H), some(H)], I, "", []),  # either could be the first
        ([some(V, I), some(I), some(I)], [some(O, H)], I, "", []),  # a norm between them
        ([some(V, I), some(V, I)], [], I, "", []),
        ([some(V, I)], [some(O, H), some(O).astype(np.int32)], I, "", []),
    ],
)
def test_equinox(
    before: list[Array], behind: list[Array], I: int, embedding: str, dense: list[tuple[str, str]]
) -> None:
    arrays = {f"leaf {k}": np.asarray(array) for k, array in enumerate([*before, *gru(I), *behind])}
    found = equinox.read(flax_tree(arrays, "equinox"), None)
    assert [name for name, role in found.roles.items() if role == "embedding table"] == (
        [embedding] if embedding else []
    )
    assert [(spec["kernel"], spec["bias"]) for spec in found.recipe.head] == dense
    assert {*found.roles, *found.unused} == {*arrays}
    start = len(before)
    cell = ", ".join(f"leaf {k}" for k in range(start, start + 4))
    assert found.assumptions[0] == f"{cell} are a cell by their shapes: the file holds no names"
    if dense:
        check_recipe(found)
        assert all(not stated for *_, stated in heads(found))
        assert "taken for the dense layers behind it, by shape" in found.around.assumptions[-1]


def test_equinox_where_another_cell_is_left() -> None:
    arrays = [*gru(I), *gru(5), some(O, H), some(O)]
    found = equinox.read(flax_tree({f"leaf {k}": array for k, array in enumerate(arrays)}, "equinox"), "GRUCell_0")
    assert not heads(found) and found.unused["leaf 8"] == "no weight of a recurrent cell"


KERAS = {
    "emb": {"emb/embeddings:0": some(V, I)},
    "rnn": named("rnn/simple_rnn_cell/", weights(I, H)),
    "head": {"head/kernel:0": some(H, O), "head/bias:0": some(O)},
    "top": {"top/kernel:0": some(O, 5)},
}


def test_keras_by_its_configuration() -> None:
    stack = [
        layer("Embedding", "emb", input_dim=V, output_dim=I),
        rnn("rnn", H, return_sequences=False),
        layer("Dropout", "drop", rate=0.5),
        layer("TimeDistributed", "head", layer=layer("Dense", "inside", units=O, activation="linear")),
        layer("Activation", "act", activation="softmax"),
        layer("Dense", "top", units=5, activation={"class_name": "function", "config": "relu"}, use_bias=False),
    ]
    found = keras.read(held(sequential(*stack), KERAS), None)
    assert table(found) == "emb" and not found.around.assumptions
    assert found.around.embedding and not found.around.embedding.masks_zero
    stack[0]["config"]["mask_zero"] = True
    masking = keras.read(held(sequential(*stack), KERAS), None).around.embedding
    assert masking is not None and masking.masks_zero
    assert heads(found) == [("head", (H, O), "softmax", True), ("top", (O, 5), "relu", True)]
    assert found.not_compared == ("Dropout 'drop'",)
    check_recipe(found)


@pytest.mark.parametrize("returned", [True, False])
def test_keras_says_whether_the_dense_layers_read_final_states(returned: bool) -> None:
    stack = [rnn("rnn", H, return_sequences=returned), layer("Dense", "head", units=O)]
    found = keras.read(held(sequential(*stack), {name: KERAS[name] for name in ("rnn", "head")}), None)
    assert found.around.head and found.around.reads_final == (not returned)


@pytest.mark.parametrize(
    ("between", "head"),
    [
        ([layer("Flatten", "odd")], []),
        ([layer("BatchNormalization", "odd")], []),
        ([layer("Activation", "odd", activation="relu")], []),
        ([layer("Dropout", "fine", rate=0.1)], ["head"]),
    ],
)
def test_keras_stops_where_another_layer_stands_between(between: list[dict[str, Any]], head: list[str]) -> None:
    stack = [rnn("rnn", H), *between, layer("Dense", "head", units=O)]
    found = keras.read(held(sequential(*stack), {name: KERAS[name] for name in ("rnn", "head")}), None)
    assert [name for name, *_ in heads(found)] == head
    assert ("Dense 'head'" in found.not_compared) == (not head)


def test_keras_takes_no_activation_that_it_cannot_hold() -> None:
    def of(*above: dict[str, Any]) -> list[tuple[str, tuple[int, ...], str, bool]]:
        held_ = {name: KERAS[name] for name in ("rnn", "head")}
        return heads(keras.read(held(sequential(rnn("rnn", H), *above), held_), None))

    plain, relu = layer("Dense", "head", units=O), layer("Dense", "head", units=O, activation="relu")
    assert of(plain, layer("Softmax", "soft"))[0][2] == "softmax"
    assert of(plain, layer("Softmax", "soft", axis=1))[0][2] == "linear"
    assert of(relu, layer("Activation", "act", activation="softmax"))[0][2] == "relu"
    assert of(layer("Dense", "head", units=O, activation="strange")) == []


def test_keras_takes_no_head_that_two_layers_share_the_outputs_with() -> None:
    layers: tuple[tuple[dict[str, Any], list[Any]], ...] = (
        (layer("InputLayer", "x"), []),
        (rnn("rnn", H), [[["x", 0, 0, {}]]]),
        (layer("Dense", "head", units=O), [[["rnn", 0, 0, {}]]]),
        (layer("Dense", "other", units=O), [[["rnn", 0, 0, {}]]]),
    )
    other = {"other/kernel:0": some(H, O), "other/bias:0": some(O)}
    tensors = {"rnn": KERAS["rnn"], "head": KERAS["head"], "other": other}
    assert heads(keras.read(held(functional("head", *layers), tensors), None)) == []
    del tensors["other"]
    assert [name for name, *_ in heads(keras.read(held(functional("head", *layers[:3]), tensors), None))] == ["head"]


def test_keras_weights_alone() -> None:
    found = keras.read(held(None, {name: KERAS[name] for name in ("emb", "rnn", "head")}, ""), None)
    assert table(found) == "emb" and heads(found) == [("head", (H, O), "linear", False)]
    assert "emb is taken for the embedding before it, by its shape" in found.around.assumptions
    skipping = {"skipping/kernel:0": some(I + H, O)}  # reads the features beside the states
    found = keras.read(held(None, {**{n: KERAS[n] for n in ("emb", "rnn")}, "skipping": skipping}, ""), None)
    assert heads(found) == [] and len(found.around.assumptions) == 1 and found.around.embedding
    norm = {"norm": {"norm/gamma:0": some(H), "norm/beta:0": some(H)}}
    assert heads(keras.read(held(None, {"rnn": KERAS["rnn"], **norm, "head": KERAS["head"]}, ""), None)) == []
    groups = numbered("layers/simple_rnn/cell", weights(I, H)) | numbered("layers/dense", [some(H, O), some(O)])
    groups |= numbered("layers/embedding", [some(V, I)]) | numbered("layers/dense_1", [some(O, 5), some(5)])
    found = keras.read(held_by_group(None, groups), None)
    assert table(found) == "embedding" and [name for name, *_ in heads(found)] == ["dense", "dense_1"]
    check_recipe(found)


@pytest.mark.parametrize(
    ("more", "embedding", "dense"),
    [
        ({"dense/kernel": some(H, O), "dense/bias": some(O)}, "", ["dense"]),
        ({"softmax_w": some(H, O), "softmax_b": some(O), "embedding": some(V, I)}, "embedding", ["softmax_w"]),
        ({"a/kernel": some(H, O), "a/bias": some(O), "b/kernel": some(O, O), "b/bias": some(O)}, "", ["a", "b"]),
        ({"w": some(H, O), "w/Adam": some(H, O), "global_step": np.array(3.0)}, "", ["w"]),
        ({"w": some(H, O), "b": some(O + 1)}, "", []),
        ({"w": some(H, O), "conv": some(1, H, O)}, "", []),
        ({"a": some(H, O), "b": some(H, O)}, "", []),
    ],
)
def test_tensorflow(more: dict[str, Array], embedding: str, dense: list[str]) -> None:
    found = tensorflow.read(holding(cell("rnn/basic_rnn_cell", I, H) | more), None)
    assert table(found) == embedding and [name for name, *_ in heads(found)] == dense
    if dense:
        check_recipe(found)
        assert not found.not_compared
    else:
        assert found.not_compared


def test_tensorflow_takes_averages_with_averages() -> None:
    arrays = cell("rnn/basic_rnn_cell", I, H) | {"w": some(H, O)}
    both = arrays | {f"{name}/ExponentialMovingAverage": 2 * array for name, array in arrays.items()}
    for selector, factor in ((None, 1), (":ema", 2)):
        found = tensorflow.read(holding(both), selector)
        assert found.around.head is not None
        assert np.array_equal(found.around.head.layers[0].kernel, factor * arrays["w"])


def onnx_reading(folder: Path, *after: bytes, before: bytes = b"", more: dict[str, Array] | None = None) -> Reading:
    arrays = onnx_weights(I, H) | (more or {})
    read = "E" if before else "X"
    nodes = [*([before] if before else []), node("RNN", [read, "W", "R", "B"], ["Y", "Y_h"], "rnn")]
    numbers = {"first": np.array([0]), "shape": np.array([0, 0, -1])}
    constants = [tensor(name, array) for name, array in (arrays | numbers).items()]
    outputs = [value("out")]
    (folder / "m.onnx").write_bytes(model(graph([*nodes, *after], constants, [value("X", (0, 0, I))], outputs)))
    return onnx.read(open_model(folder / "m.onnx"), None)


DENSE = {"k": some(H, O), "b": some(O)}


@pytest.mark.parametrize(
    ("after", "found"),
    [
        ([node("MatMul", ["Y", "k"], ["z"], "fc"), node("Add", ["b", "z"], ["out"])], ("fc", "linear", True)),
        ([node("Squeeze", ["Y_h"], ["s"]), node("Gemm", ["s", "k", "b"], ["out"], "fc")], ("fc", "linear", True)),
        (
            [node("Gemm", ["Y_h", "k", "b"], ["z"], "fc"), node("Softmax", ["z"], ["out"], axis=1)],
            ("fc", "softmax", True),
        ),
        ([node("MatMul", ["Y", "k"], ["z"], "fc"), node("Relu", ["z"], ["out"])], ("fc", "relu", False)),
        ([node("MatMul", ["Y", "k"], ["z"], "fc"), node("Selu", ["z"], ["out"])], ("fc", "selu", False)),
        (  # the softmax of operator set 12 and before, of two axes
            [
                node("Squeeze", ["Y_h", "first"], ["s"]),
                node("MatMul", ["s", "k"], ["z"], "fc"),
                node("Softmax", ["z"], ["out"], axis=1),
            ],
            ("fc", "softmax", False),
        ),
        (  # tf.tensordot
            [
                node("MatMul", ["Y", "k"], ["z"], "fc"),
                node("Reshape", ["z", "shape"], ["y"]),
                node("Add", ["y", "b"], ["out"]),
            ],
            ("fc", "linear", True),
        ),
        (  # silu
            [
                node("MatMul", ["Y", "k"], ["z"], "fc"),
                node("Sigmoid", ["z"], ["t"]),
                node("Mul", ["z", "t"], ["out"]),
            ],
            None,
        ),
        ([node("MatMul", ["Y", "k"], ["z"], "fc"), node("Softmax", ["z"], ["out"], axis=1)], ("fc", "linear", False)),
        ([node("Gemm", ["Y_h", "k", "b"], ["out"], "fc", alpha=0.5)], None),
        ([node("Relu", ["Y"], ["r"]), node("MatMul", ["r", "k"], ["out"], "fc")], None),
        ([node("MatMul", ["Y", "k"], ["out"]), node("MatMul", ["Y", "k"], ["other"])], None),
    ],
)
def test_onnx(after: list[bytes], found: tuple[str, str, bool] | None, tmp_path: Path) -> None:
    reading = onnx_reading(tmp_path, *after, more=DENSE)
    if found is None:
        assert heads(reading) == [] and reading.not_compared
        return
    name, activation, biased = found
    assert heads(reading) == [(name, (H, O), activation, True)] and not reading.around.assumptions
    assert np.array_equal(reading.around.head.layers[0].bias, DENSE["b"] if biased else np.zeros(O))  # type: ignore[union-attr]
    check_recipe(reading)


def test_onnx_has_the_table_before_and_chains_behind(tmp_path: Path) -> None:
    after = [
        node("MatMul", ["Y", "k"], ["z"], "fc"),
        node("Add", ["z", "b"], ["a"]),
        node("Tanh", ["a"], ["t"]),
        node("MatMul", ["t", "top"], ["out"], "top"),
    ]
    before = node("Gather", ["table", "X"], ["E"], "words")
    more = DENSE | {"table": some(V, I), "top": some(O, 5)}
    found = onnx_reading(tmp_path, *after, before=before, more=more)
    assert table(found) == "words" and heads(found) == [("fc", (H, O), "tanh", True), ("top", (O, 5), "linear", True)]
    assert not found.not_compared and found.roles["table"] == "embedding table"
    columns = node("Gather", ["table", "X"], ["E"], "words", axis=1)
    assert table(onnx_reading(tmp_path, *after, before=columns, more=more)) == ""
