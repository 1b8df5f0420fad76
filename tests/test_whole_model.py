"""Whole models, from tokens to the outputs of their dense layers, run by the framework of each file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import bidirectional
from safetensors.numpy import load_file, save_file

import rnnverify
from rnnverify import reference
from rnnverify.around import Around, Dense, Head, apply, enclosed
from rnnverify.behind import FINAL, LAST, behind
from rnnverify.comparison import Comparison
from rnnverify.containers import open_model
from rnnverify.errors import FileError, InputsError, OptionError
from rnnverify.inputs import InputOptions
from rnnverify.jobs import Job
from rnnverify.native import Runners
from rnnverify.observed import Observed
from rnnverify.options import Options
from rnnverify.reports import terminal
from rnnverify.runner_process import Limits
from rnnverify.sides import open_side, parse
from rnnverify.trace import ZERO, Batch, Run, Trace
from rnnverify.trace_file import load
from rnnverify.whole_model import shared

GENUINE = Path(__file__).parents[1] / "fixtures" / "genuine"
KERAS = GENUINE / "keras-3.0.5" / "rnn_emb_keras" / "model.keras"
TORCH = GENUINE / "torch-2.13.0" / "rnn_emb_compiled" / "model.pt"
TENSORFLOW = GENUINE / "tf-1.8.0" / "rnn_emb_adam_ema_v2" / "model.ckpt"
OTHERS = (
    GENUINE / "tf.keras-2.15.1" / "rnn_emb_tfckpt" / "ckpt-1",
    GENUINE / "tf.keras-2.4.4" / "rnn_emb_savedmodel_nt" / "saved_model",
    GENUINE / "torch-1.0.1" / "rnn_emb_user_module" / "model.pt",
)
NATIVE = Options(inputs=InputOptions(sequences=2, steps=6), engine="native")
READ = replace(NATIVE, engine="reference")


def state_dict(folder: Path, **changed: Any) -> Path:
    """The weights of TORCH as a file of their own, some of them `changed`, by the end of their name."""
    arrays = {name.removeprefix("_orig_mod."): t.read() for name, t in open_model(TORCH).tensors.items()}
    for name, change in changed.items():
        full = name.replace("__", ".")
        arrays[full] = np.asarray(change(arrays[full].copy()), np.float32)
    save_file(arrays, folder / "port.safetensors")
    return folder / "port.safetensors"


def report(result: Comparison) -> str:
    return " ".join(terminal.render(result).split())


def test_one_model_in_three_frameworks() -> None:
    result = rnnverify.compare(KERAS, TORCH, TENSORFLOW, options=NATIVE)
    assert result.verdict == "EQUIVALENT" and {side.engine for side in result.sides} == {"native"}
    for pair in result.pairs:
        assert pair.model is not None and pair.model.headline.deviation.max_abs < 2e-6
        assert (pair.model.flips, pair.model.decisions) == (0, 3 * 2 * 6) and max(pair.model.used) < 1
        assert {"embedding table", "dense dense kernel", "dense dense bias"} <= {t.name for t in pair.tensors}
        assert {m.batch for m in pair.measured} == {"zero", "from_h0", "tokens"}
    text = report(result)
    assert "behind Dense 'dense', 8 -> 3; argmax the same at 36 of 36 steps; the layers themselves take" in text
    assert "fc is taken for the dense layers behind it, by shape" in text
    assert "activation linear of _orig_mod.fc: not in the file, borrowed from A" in text
    assert not any("Dense" in words or "Embedding" in words for side in result.sides for words in side.not_compared)


@pytest.mark.parametrize("other", OTHERS, ids=lambda path: path.parent.name)
def test_every_form_is_read_so(other: Path) -> None:
    result = rnnverify.compare(KERAS, other, options=READ)
    assert result.verdict in ("IDENTICAL", "EQUIVALENT") and result.pairs[0].model is not None


def test_one_model_in_flax_and_equinox(tmp_path: Path) -> None:
    """Both written by their frameworks, from one embedding, cell and dense layer; then one of them is changed."""
    import equinox
    import jax
    from flax import linen, serialization

    whole = linen.Sequential([linen.Embed(20, 5), linen.RNN(linen.GRUCell(8)), linen.Dense(3)])
    tree: Any = whole.init(jax.random.PRNGKey(0), np.zeros((1, 2), int))
    held = jax.tree_util.tree_map(lambda array: np.asarray(array) + np.float32(0.01), tree)["params"]
    (tmp_path / "model.msgpack").write_bytes(serialization.to_bytes({"params": held}))
    cell, key = held["layers_1"]["cell"], jax.random.PRNGKey(1)
    new = {
        "weight_ih": np.concatenate([cell[f"i{gate}"]["kernel"].T for gate in "rzn"]),
        "weight_hh": np.concatenate([cell[f"h{gate}"]["kernel"].T for gate in "rzn"]),
        "bias": np.concatenate([cell[f"i{gate}"]["bias"] for gate in "rzn"]),
        "bias_n": cell["hn"]["bias"],
    }

    def write(name: str, kernel: Any) -> Path:
        def filled(module: Any, **fields: Any) -> Any:
            return equinox.tree_at(lambda m: [getattr(m, name) for name in fields], module, list(fields.values()))

        model = (
            filled(equinox.nn.Embedding(20, 5, key=key), weight=held["layers_0"]["embedding"]),
            filled(equinox.nn.GRUCell(5, 8, key=key), **new),
            filled(equinox.nn.Linear(8, 3, key=key), weight=kernel.T, bias=held["layers_2"]["bias"]),
        )
        equinox.tree_serialise_leaves(tmp_path / name, model)
        return tmp_path / name

    kernel = held["layers_2"]["kernel"]
    port, wrong = write("model.eqx", kernel), write("wrong.eqx", np.roll(kernel, 1, axis=1))
    result = rnnverify.compare(tmp_path / "model.msgpack", port, wrong, options=NATIVE)
    assert {side.engine for side in result.sides} == {"native"}
    right, other = result.pairs
    assert right.verdict == "EQUIVALENT" and right.model is not None and right.model.decisions == 3 * 2 * 6
    assert {"embedding table", "dense layers_2 kernel"} <= {tensor.name for tensor in right.tensors}
    assert other.verdict == "DIFFERENT" and other.model is not None and other.model.flips > 0
    assert "Linear_0 is taken for the dense layers behind it, by shape" in report(result)
    assert result.sides[1].how.startswith("equinox.nn.GRUCell") and not result.sides[1].not_compared


def test_another_weight_of_the_head(tmp_path: Path) -> None:
    def other(kernel: Any) -> Any:
        kernel[1, 2] += 3.0
        return kernel

    result = rnnverify.compare(KERAS, state_dict(tmp_path, fc__weight=other), options=NATIVE)
    (pair,) = result.pairs
    assert result.verdict == "DIFFERENT" and pair.model is not None and pair.model.flips > 0
    assert "dense dense kernel: 1 of 24 weights differ, by up to 3" in pair.reasons
    assert pair.headline.deviation.max_abs < 1e-6  # the recurrent parts are the same
    assert f"the same at {36 - pair.model.flips} of 36 steps" in report(result)


def test_another_row_of_the_table(tmp_path: Path) -> None:
    result = rnnverify.compare(KERAS, state_dict(tmp_path, embedding__weight=lambda t: t + (t == t[3]) * 1e-4))
    assert result.verdict == "DIFFERENT"
    assert any(reason.startswith("embedding table: 5 of 100 weights differ") for reason in result.pairs[0].reasons)


def test_a_head_on_one_side_alone_is_named_and_left_out(tmp_path: Path) -> None:
    arrays = load_file(state_dict(tmp_path))
    save_file({name: array for name, array in arrays.items() if name.startswith("rnn.")}, tmp_path / "bare.safetensors")
    result = rnnverify.compare(KERAS, tmp_path / "bare.safetensors", options=READ)
    assert result.verdict in ("IDENTICAL", "EQUIVALENT") and result.pairs[0].model is None
    assert result.sides[0].not_compared == ("Embedding 'embedding', 20 tokens", "Dense 'dense', 8 -> 3")


def test_a_head_that_is_not_finite(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="fc holds 24 weights that are NaN or infinite"):
        rnnverify.compare(KERAS, state_dict(tmp_path, fc__weight=lambda k: k * np.nan), options=READ)


@pytest.mark.parametrize("model", [KERAS, TENSORFLOW])
def test_a_recording_made_from_tokens(model: Path) -> None:
    recorded = model.parent / "io.npz"
    assert load(recorded).runs[ZERO].batch.x.ndim == 2
    assert rnnverify.compare(recorded, model, options=NATIVE).verdict == "EQUIVALENT"
    assert rnnverify.compare(recorded, TORCH, options=READ).verdict == "EQUIVALENT"


def test_tokens_that_no_side_can_read(fixtures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputsError, match=r"was recorded from tokens, x \(3, 9\), and no side has an embedding"):
        rnnverify.compare(KERAS.parent / "io.npz", fixtures / "rnn.pt")
    arrays = dict(np.load(KERAS.parent / "io.npz"))
    np.savez(tmp_path / "far.npz", **{**arrays, "x": arrays["x"] + 20})
    with pytest.raises(InputsError, match=r"recorded from tokens from 2\d to \d\d, and a table of 20; are these the"):
        rnnverify.compare(tmp_path / "far.npz", KERAS)


@pytest.mark.parametrize("padded", [0, 3])
def test_tokens_that_an_embedding_masks(padded: int) -> None:
    """What Keras makes of token 0 where it pads: the states stay as they are."""
    side = open_side(parse(str(KERAS), "A"))
    assert side.reading and side.reading.around.embedding and side.network
    table = replace(side.reading.around.embedding, masks_zero=True)
    masking = replace(side, reading=replace(side.reading, around=replace(side.reading.around, embedding=table)))
    tokens = np.random.default_rng(0).integers(1, 20, (2, 6))
    tokens[1, 6 - padded :] = 0
    y = np.zeros((2, 6, 8), np.float32)
    trace = Trace({ZERO: Run(Batch(ZERO, tokens), y)})
    port = replace(side, reading=None, contents=None, trace=trace)
    _, read = shared([masking, port])
    assert read.trace is not None
    (run,) = read.trace.runs.values()
    assert run.batch.x.shape == (2, 6, 5)
    assert (run.batch.name, run.batch.lengths is None) == (("lengths", False) if padded else ("zero", True))
    if padded:
        assert run.batch.lengths is not None and run.batch.lengths.tolist() == [6, 3]
        tokens[0, 0] = 0
        with pytest.raises(InputsError, match="from tokens that its embedding masks, 0, before others"):
            shared([masking, port])


def test_inputs_that_are_tokens(fixtures: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "tokens.npy", np.random.default_rng(0).integers(0, 20, (3, 5)))
    options = replace(NATIVE, inputs=InputOptions(file=tmp_path / "tokens.npy"))
    result = rnnverify.compare(KERAS, TORCH, options=options)
    assert result.verdict == "EQUIVALENT" and result.inputs["batches"]["zero"]["shape"] == [3, 5, 5]
    with pytest.raises(InputsError, match=r"tokens\.npy: holds tokens of shape \(3, 5\), and no side has an embedding"):
        rnnverify.compare(fixtures / "rnn.pt", fixtures / "rnn.pt", options=options)
    np.save(tmp_path / "tokens.npy", np.full((3, 5), 20))
    with pytest.raises(InputsError, match="holds tokens from 20 to 20, and a table of 20"):
        rnnverify.compare(KERAS, TORCH, options=options)


def test_one_table_is_enough_for_tokens(tmp_path: Path) -> None:
    arrays = load_file(state_dict(tmp_path))
    save_file({name: array for name, array in arrays.items() if name.startswith("rnn.")}, tmp_path / "bare.safetensors")
    np.save(tmp_path / "tokens.npy", np.arange(6).reshape(2, 3))
    options = replace(READ, inputs=InputOptions(file=tmp_path / "tokens.npy"))
    assert rnnverify.compare(tmp_path / "bare.safetensors", KERAS, options=options).verdict == "IDENTICAL"


def test_a_record_holds_the_outputs_of_the_model(tmp_path: Path) -> None:
    rnnverify.run(KERAS, tmp_path / "case.npz", options=NATIVE)
    assert all(run.model_out is not None for name, run in load(tmp_path / "case.npz").runs.items())
    result = rnnverify.compare(tmp_path / "case.npz", TORCH, options=NATIVE)
    assert result.verdict == "EQUIVALENT" and result.pairs[0].model is not None
    wrong = state_dict(tmp_path, fc__bias=lambda bias: bias + 0.01)
    result = rnnverify.compare(tmp_path / "case.npz", wrong, options=NATIVE)
    assert result.verdict == "DIFFERENT"
    assert "do not follow from its states by the dense layers" in " ".join(result.pairs[0].reasons)


@pytest.mark.parametrize("activation", ["linear", "softmax", "tanh", "relu"])
def test_a_recording_tells_the_activation_of_a_head(activation: str, tmp_path: Path) -> None:
    """A state dict ends in logits; what was recorded may be what softmax makes of them."""
    rnnverify.run(KERAS, tmp_path / "case.npz", options=READ)
    arrays = dict(np.load(tmp_path / "case.npz"))
    side = open_side(parse(str(KERAS), "A"))
    assert side.reading and side.reading.around.head
    head = Head((replace(side.reading.around.head.layers[0], activation=activation),))
    for suffix in ("", "_from_h0", "_probe"):
        if "y" + suffix in arrays:
            arrays["model_out" + suffix] = apply(head, arrays["y" + suffix])
    np.savez(tmp_path / "port.npz", **arrays)
    result = rnnverify.compare(tmp_path / "port.npz", TORCH, options=READ)
    assert result.verdict in ("IDENTICAL", "EQUIVALENT")
    assert f"activation {activation} of _orig_mod.fc: not in the file, as recorded in A" in result.sides[1].assumptions


def test_lengths_are_no_option_for_a_recording() -> None:
    options = replace(READ, inputs=InputOptions(lengths=(3,)))
    with pytest.raises(OptionError, match=r"--lengths: .*io\.npz is a trace, and brings the inputs"):
        rnnverify.compare(KERAS.parent / "io.npz", KERAS, options=options)


NAMES = ("linear", "softmax", "relu", "tanh", "sigmoid", "softsign", "softplus", "elu", "hard_sigmoid")
MORE = ("keras2_hard_sigmoid", "gelu", "silu", "selu", "exponential", "relu6", "mish", "leaky_relu")


@pytest.mark.parametrize(
    ("name", "activations"),
    [
        ("rnn.pt", NAMES + MORE),
        ("simple_rnn.h5", NAMES + MORE),
        ("basic_rnn_cell.ckpt", NAMES + MORE[:-2]),
        ("lstm_nnx.msgpack", NAMES + MORE[:-2]),
        ("genuine/onnx-from-torch-2.13.0/rnn_a_onnx/model.onnx", (*NAMES, "keras2_hard_sigmoid")),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_every_runner_computes_dense_layers(
    name: str, activations: tuple[str, ...], bias: bool, fixtures: Path
) -> None:
    """Within what rounding allows, with or without a bias, from kernels kept either way."""
    side = open_side(parse(str(fixtures / name), "A"))
    assert side.reading and side.contents and side.network
    rng = np.random.default_rng(0)
    F = side.network.output_size
    kernel, offset = rng.normal(size=(F, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    tensors = {**side.reading.recipe.tensors, "k": kernel, "kT": np.ascontiguousarray(kernel.T), "b": offset}
    jobs = []
    x = rng.normal(size=(2, 130, side.network.input_size)).astype(np.float32)  # more than a block of steps
    for k, activation in enumerate(activations):
        spec = {"kernel": ("k", "kT")[k % 2], "bias": "b" * bias, "transposed": bool(k % 2)}
        head = Head((Dense(kernel, offset if bias else np.zeros(4, np.float32), activation),))
        recipe = replace(side.reading.recipe, tensors=tensors, head=(spec,), loadable=False)
        reading = replace(side.reading, recipe=recipe, around=replace(side.reading.around, head=head))
        jobs.append(Job(activation, name, side.contents.path, reading, (Batch(ZERO, x),), head=True))
    with Runners(Limits()) as runners:
        runners.submit(jobs)
        for job in jobs:
            run = runners.collect(job)[0].runs[ZERO]
            head_ = job.reading.around.head
            assert head_ is not None and run.model_out is not None and run.model_out.shape == (2, 130, 4)
            exact, allowed = enclosed(head_, np.asarray(run.y), "float32")
            assert (np.abs(run.model_out - exact) <= allowed).all(), job.label


def test_a_record_of_the_last_step(tmp_path: Path) -> None:
    """What a genuine model that returns no sequences gave, and what another one did."""
    recorded = KERAS.parent / "io.npz"
    for model in (KERAS, TORCH):
        result = rnnverify.compare(recorded, model, options=READ)
        assert result.verdict == "EQUIVALENT" and result.pairs[0].model is not None
        assert (result.pairs[0].model.at, result.pairs[0].model.decisions) == ("last steps", 3)
        assert not any("model_out" in words for side in result.sides for words in side.not_compared)
    assert "argmax the same at 3 of 3 last steps" in report(result)
    arrays = dict(np.load(recorded))
    np.savez(tmp_path / "other.npz", **{**arrays, "model_out": arrays["model_out"] * 1.001})
    result = rnnverify.compare(tmp_path / "other.npz", KERAS, options=READ)
    assert result.verdict == "DIFFERENT"
    assert "outputs of A do not follow from its states by the dense layers" in " ".join(result.pairs[0].reasons)
    np.savez(tmp_path / "first.npz", **{**arrays, "model_out": apply(_head(KERAS), arrays["y"])[:, 0].astype("f4")})
    assert rnnverify.compare(tmp_path / "first.npz", KERAS, options=READ).verdict == "DIFFERENT"


def _head(path: Path) -> Head:
    reading = open_side(parse(str(path), "A")).reading
    assert reading is not None and reading.around.head is not None
    return reading.around.head


def test_a_record_of_the_last_steps_of_sequences_of_different_length(tmp_path: Path) -> None:
    rnnverify.run(KERAS, tmp_path / "case.npz", options=replace(NATIVE, inputs=InputOptions(lengths=(5, 3))))
    arrays = dict(np.load(tmp_path / "case.npz"))
    last = arrays["lengths"] - 1
    for suffix in ("", "_from_h0", "_with_lengths"):
        made = arrays["model_out" + suffix]
        arrays["model_out" + suffix] = made[np.arange(len(made)), last if suffix == "_with_lengths" else -1]
    del arrays["model_out_probe"]
    np.savez(tmp_path / "last.npz", **arrays)
    result = rnnverify.compare(tmp_path / "last.npz", TORCH, options=READ)
    assert result.verdict in ("IDENTICAL", "EQUIVALENT") and result.pairs[0].model is not None
    assert result.pairs[0].model.at == "last steps" and result.sides[0].not_compared == ()
    arrays["model_out_with_lengths"] = apply(_head(KERAS), arrays["y_with_lengths"][:, 2])  # too early
    np.savez(tmp_path / "early.npz", **arrays)
    assert rnnverify.compare(tmp_path / "early.npz", TORCH, options=READ).verdict == "DIFFERENT"


def test_a_file_says_which_end_of_both_directions_the_dense_layers_read() -> None:
    network = bidirectional(3, 4)
    head = Head((Dense(np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32), np.zeros(2, np.float32)),))
    run = reference.run(network, [Batch(ZERO, np.random.default_rng(1).normal(size=(2, 5, 3)))]).runs[ZERO]
    last = replace(run, model_out=apply(head, run.y[:, -1:]))
    every = replace(run, model_out=apply(head, run.y))
    for final, at in ((False, LAST), (True, FINAL)):
        a = Observed("A", network, Trace({ZERO: every}), None, around=Around(head=head, reads_final=final))
        b = Observed("B", None, Trace({ZERO: last}), None)
        ((ours, theirs),) = behind(a, b)
        assert ours.at == theirs.at == at and np.allclose(ours.made, theirs.made) == (at == LAST)
