"""What the frameworks write is read back as the same network; what is not the same is not left behind."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import bidirectional, direction, edited, single, stacked
from safetensors.numpy import load_file

import rnnverify
from rnnverify import conversion
from rnnverify.adapters.layouts import Layout, lay_out
from rnnverify.canonical import Layer, Network
from rnnverify.errors import OptionError, OutputError, SelectorError, UnsupportedError
from rnnverify.inputs import InputOptions
from rnnverify.jobs import Order
from rnnverify.native import Runners
from rnnverify.options import Options
from rnnverify.runner_process import Limits
from rnnverify.sides import open_side, parse
from rnnverify.targets import FORMS, Form
from rnnverify.weights import compare_weights

QUICK = Options(inputs=InputOptions(sequences=2, steps=5, probes=False), engine="reference")
RNG = np.random.default_rng(0)
ZEROS = np.zeros((1, 4), np.float32)


def layer(I: int, H: int, ways: tuple[bool, ...] = (False,), **facts: object) -> Layer:
    made = Layer(tuple(direction(RNG, I, H, reverse=reverse) for reverse in ways))
    return replace(made, **facts)  # type: ignore[arg-type]  # facts of a Layer, by name


BOTH = (False, True)
NETWORKS: Mapping[str, Network] = {
    "one layer": single(),
    "relu": single(activation="relu"),
    "alike": stacked(3, (4, 4)),
    "apart": stacked(3, (4, 5)),
    "both ways": bidirectional(),
    "both ways, stacked": Network((layer(3, 4, BOTH), layer(8, 4, BOTH))),
    "mixed": Network((layer(3, 4), layer(4, 2, BOTH), layer(4, 3))),
    "no bias": edited(single(), bias_input=ZEROS, bias_recurrent=ZEROS, has_bias=False),
    "float64": single().mapped(lambda w: w.astype(np.float64)),
    "float16": single().mapped(lambda w: w.astype(np.float16)),
    # not for PyTorch
    "summed": bidirectional(merge="sum"),
    "multiplied, then summed": Network((layer(3, 4, BOTH, merge="mul"), layer(4, 4, BOTH, merge="sum"))),
    "gelu": single(activation="gelu"),
    "backward": Network((layer(3, 4, (True,), time_restored=False),)),
    "averaged": bidirectional(merge="ave"),  # nor for TensorFlow
    "turned back": single(reverse=True),  # nor for Keras, but for TensorFlow
}


ALL = ("one layer", "apart")
"""Networks that are written in every form; the others in one form of each framework, by turns."""


def forms_of(name: str) -> Iterator[Form]:
    by_framework = itertools.groupby(FORMS.values(), lambda form: form.framework)
    for _, forms in by_framework:
        each = list(forms)
        yield from each if name in ALL else [each[list(NETWORKS).index(name) % len(each)]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """(network, form) to the source that reads it, written by its framework."""
    folder = tmp_path_factory.mktemp("written")
    orders, sources = [], {}
    for number, (name, network) in enumerate(NETWORKS.items()):
        for form in forms_of(name):
            path = folder / f"{number}{form.suffixes[0]}"
            with contextlib.suppress(UnsupportedError):
                layout = lay_out(network, form.layout, path)
                orders.append(Order(path.name, layout, network.input_size, path, form.name))
                part = f"#{layout.part}" if layout.part and form.framework != "keras" else ""
                sources[name, form.name] = f"{path}{part}"
    with Runners(Limits()) as runners:
        runners.write(*orders)
    return sources


def test_each_network_is_held_by_the_frameworks_that_can(written: dict[tuple[str, str], str]) -> None:
    held = {name: {FORMS[form].framework for network, form in written if network == name} for name in NETWORKS}
    for name in list(NETWORKS)[:10]:
        assert held[name] == {"torch", "keras", "tensorflow", "onnx", "flax"}, name
    for name in list(NETWORKS)[10:14]:
        onnx = {"onnx"} if name in ("summed", "multiplied, then summed") else set()
        flax = {"flax"} if name != "multiplied, then summed" else set()
        assert held[name] == {"keras", "tensorflow"} | onnx | flax, name
    assert (held["averaged"], held["turned back"]) == ({"keras", "flax"}, {"tensorflow", "onnx"})


def test_read_after_write_is_the_identity(written: dict[tuple[str, str], str]) -> None:
    """Weights bit for bit, but for two biases that became one; facts wherever the form states them."""
    for (name, form), source in written.items():
        side, network = open_side(parse(source, "A")), NETWORKS[name]
        assert side.reading and side.contents and side.network
        assert side.reading.activation_stated == (form in ("h5", "keras", "ckpt", "onnx")), (name, form)
        one_bias = FORMS[form].framework not in ("torch", "onnx")
        for (tensor, theirs), (_, ours) in zip(side.network.tensors(), network.tensors(), strict=True):
            if not (one_bias and "bias" in tensor):
                assert np.array_equal(theirs, ours) and theirs.dtype == ours.dtype, (name, form, tensor)
        for (_, _, found), (_, _, wanted) in zip(side.network.directions(), network.directions(), strict=True):
            bias = wanted.bias.astype(wanted.kernel.dtype) if one_bias else wanted.bias
            assert np.array_equal(found.bias, bias), (name, form)
        if side.reading.activation_stated:
            facts = [
                [(x.activation, x.merge, x.time_restored, [d.reverse for d in x.directions]) for x in n.layers]
                for n in (side.network, network)
            ]
            assert facts[0] == facts[1], (name, form)


def test_round_trips_through_any_two_forms_hold_the_same_weights(written: dict[tuple[str, str], str]) -> None:
    for name, network in NETWORKS.items():
        read = [open_side(parse(source, "A")).network for (held, _), source in written.items() if held == name]
        stated = [replace(net, layers=tuple(_stated(*pair) for pair in _layers(net, network))) for net in read if net]
        for a, b in itertools.permutations(stated, 2):
            tensors, reasons = compare_weights(a, b)
            assert tensors and not reasons and not any(tensor.differing for tensor in tensors), name


def _layers(a: Network, b: Network) -> zip[tuple[Layer, Layer]]:
    return zip(a.layers, b.layers, strict=True)


def _stated(found: Layer, wanted: Layer) -> Layer:
    """`found` with what its form may not state; the weights are its own."""
    ways = tuple(replace(d, reverse=w.reverse) for d, w in zip(found.directions, wanted.directions, strict=True))
    facts = {"activation": wanted.activation, "merge": wanted.merge, "time_restored": wanted.time_restored}
    return replace(found, directions=ways, **facts)  # type: ignore[arg-type]  # facts of a Layer, by name


def test_every_form_runs_as_the_first_does(written: dict[tuple[str, str], str]) -> None:
    forms = [name for name in FORMS if name not in ("h5", "equinox")]  # the latter has no vanilla cell
    sides = [written["apart", form] for form in ("h5", *forms)]
    result = rnnverify.compare(*sides, options=Options(inputs=InputOptions(sequences=2, steps=6)))
    assert result.verdict == "EQUIVALENT" and {side.engine for side in result.sides} == {"native"}


def test_a_conversion_is_run_judged_and_kept(fixtures: Path, tmp_path: Path) -> None:
    made = rnnverify.convert(fixtures / "stacked.keras", tmp_path / "out.pt", Options(inputs=InputOptions(2, 6)))
    assert (made.verdict, made.exit_code, made.part) == ("EQUIVALENT", 0, "lower+upper")
    assert made.files == (str(tmp_path / "out.pt"),) and [p.name for p in tmp_path.iterdir()] == ["out.pt"]
    assert {side.engine for side in made.comparison.sides} == {"native"}
    assert made.comparison.sides[1].source == made.target == f"{tmp_path / 'out.pt'}#lower+upper"
    assert made.not_converted == ("Dropout 'dropout'", "Dense 'head', 8 -> 3") and "torch.save" in made.written_by
    assert {line.name: line.shape for line in made.tensors}["upper.weight_ih_l0"] == (8, 6)
    assert rnnverify.inspect(made.target).shape == made.shape == "2 layers, 5 -> 6 -> 8, tanh"


def test_what_is_not_the_same_network_is_not_left(
    fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: object) -> Layout:
        layout = lay_out(*arguments)  # type: ignore[arg-type]  # passed on as they are
        tensors = {name: array * (1 + 1e-3 * (name == "weight_hh_l0")) for name, array in layout.tensors.items()}
        return replace(layout, tensors={name: array.astype(np.float32) for name, array in tensors.items()})

    monkeypatch.setattr(conversion, "lay_out", wrong)
    (tmp_path / "out.pt").write_bytes(b"before")
    made = rnnverify.convert(fixtures / "simple_rnn.h5", tmp_path / "out.pt", QUICK, force=True)
    assert (made.verdict, made.exit_code, made.files) == ("DIFFERENT", 1, ())
    assert "layer 0 recurrent kernel: 64 of 64 weights differ" in " ".join(made.comparison.pairs[0].reasons)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("out.pt", b"before")]


def test_what_cannot_be_read_back_is_not_left(fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unnamed(*arguments: object) -> Layout:
        layout = lay_out(*arguments)  # type: ignore[arg-type]  # as above
        return replace(layout, layers=tuple({**spec, "prefix": "gru_"} for spec in layout.layers))

    monkeypatch.setattr(conversion, "lay_out", unnamed)
    with pytest.raises(
        OutputError, match=r"out.npz: what was written cannot be read back \(.*\); nothing was left there"
    ):
        rnnverify.convert(fixtures / "rnn.pt", tmp_path / "out.npz", QUICK)
    assert list(tmp_path.iterdir()) == []


def test_an_activation_that_no_file_states_is_the_one_given(fixtures: Path, tmp_path: Path) -> None:
    options = replace(QUICK, assumed=rnnverify.Assumed(("relu",)))
    made = rnnverify.convert(fixtures / "rnn.pt", tmp_path / "out.safetensors", options)
    assert made.verdict == "IDENTICAL" and made.shape == "1 layer, 5 -> 8, relu"
    assert "activation relu: set by --activation" in made.notes
    arrays = [load_file(path) for path in (tmp_path / "out.safetensors", fixtures / "rnn.safetensors")]
    assert all(np.array_equal(arrays[0][name], array) for name, array in arrays[1].items())


def test_what_a_file_of_weights_leaves_open_is_settled_on_both_sides(
    written: dict[tuple[str, str], str], tmp_path: Path
) -> None:
    (source,) = (source for held, source in written.items() if held in (("backward", "h5"), ("backward", "keras")))
    made = rnnverify.convert(source, tmp_path / "out.weights.h5", QUICK)
    assert made.verdict == "IDENTICAL" and made.files
    assert rnnverify.inspect(tmp_path / "out.weights.h5").shape == "1 layer, 3 -> 4, tanh"  # nothing in it says more


def test_what_weights_alone_would_not_tell_apart(written: dict[tuple[str, str], str], tmp_path: Path) -> None:
    source = written["multiplied, then summed", "ckpt"]
    with pytest.raises(UnsupportedError, match=r"merge modes mul and sum, and a file of weights alone does not say"):
        rnnverify.convert(source, tmp_path / "out.weights.h5", QUICK)
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused_leaves_nothing(fixtures: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.pt"
    trace = tmp_path / "trace.npz"
    np.savez(trace, x=np.zeros((1, 2, 3)), y=np.zeros((1, 2, 4)))
    with pytest.raises(OptionError, match=r"trace.npz: is a trace, and holds no weights; give a model file"):
        rnnverify.convert(trace, target, QUICK)
    with pytest.raises(
        UnsupportedError, match=r"out.pt: layer 0 runs backward only, and nn.RNN .*; convert to a Keras"
    ):
        rnnverify.convert(fixtures / "wrong" / "go_backwards.keras", target, QUICK)
    with pytest.raises(SelectorError, match="holds 2 recurrent parts"):
        rnnverify.convert(fixtures / "two_parts.pt", target, QUICK)
    with pytest.raises(OutputError, match="is the source, which is never replaced"):
        rnnverify.convert(fixtures / "rnn.pt", fixtures / "rnn.pt", QUICK, force=True)
    assert list(tmp_path.iterdir()) == [trace]
