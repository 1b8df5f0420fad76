"""Arguments taken apart, and the activations that files do not state."""

from pathlib import Path

import numpy as np
import pytest
from networks import batches, computed, edited, single, stacked

from rnnverify import sides
from rnnverify.adapters.reading import Reading, Recipe
from rnnverify.assumptions import settle_activations
from rnnverify.canonical import Network
from rnnverify.errors import FileError, OptionError
from rnnverify.sides import Opened, framework_of, open_side, parse, parse_all
from rnnverify.trace import Trace
from rnnverify.trace_file import save

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.mark.parametrize(
    ("given", "path", "framework", "selector"),
    [
        ("model.h5", "model.h5", None, None),
        ("keras:model.h5", "model.h5", "keras", None),
        ("torch:model.bin", "model.bin", "torch", None),
        ("tf:logs/model.ckpt", "logs/model.ckpt", "tensorflow", None),
        ("model.pt#encoder.rnn", "model.pt", None, "encoder.rnn"),
        ("torch:model.pt#encoder.rnn", "model.pt", "torch", "encoder.rnn"),
        ("model.pt#a#b", "model.pt", None, "a#b"),
        ("model.pt#", "model.pt", None, None),
        ("other:model.pt", "other:model.pt", None, None),
        ("Keras:model.h5", "Keras:model.h5", None, None),
        ("C:/models/model.pt#rnn", "C:/models/model.pt", None, "rnn"),
        ("keras:torch:model", "torch:model", "keras", None),
    ],
)
def test_an_argument_is_taken_apart(given: str, path: str, framework: str | None, selector: str | None) -> None:
    source = parse(given, "B")
    assert (source.path, source.framework, source.selector) == (Path(path), framework, selector)
    assert (source.label, source.given, str(source)) == ("B", given, given)


@pytest.mark.parametrize("name", ["keras:model.h5", "model#2.pt", "torch:a#b", "tf:x"])
def test_a_path_that_exists_is_never_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    for given in (name, str(tmp_path / name)):
        source = parse(given, "A")
        assert (source.path, source.framework, source.selector) == (Path(given), None, None)
    prefixed = parse(f"torch:{name}", "A")
    assert (prefixed.path, prefixed.framework, prefixed.selector) == (Path(name), "torch", None)
    selected = parse(f"torch:{tmp_path / 'model.pt'}#rnn", "A")
    assert (selected.path, selected.selector) == (tmp_path / "model.pt", "rnn")


def test_a_name_that_no_file_can_have_is_refused_in_one_sentence() -> None:
    for given in ("a" * 300, "a\0b"):
        with pytest.raises(FileError):
            open_side(parse(given, "A"))


def test_a_source_is_printable() -> None:
    assert str(parse("a\nb.pt", "A")) == "a\\nb.pt"


def test_sides_are_labelled_in_order() -> None:
    assert [source.label for source in parse_all(["a"] * 26)] == list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    with pytest.raises(OptionError, match="27 sides were given; at most 26"):
        parse_all(["a"] * 27)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    network = single()
    save(computed(network, batches(network)), tmp_path / "trace.npz")
    return tmp_path / "trace.npz"


def test_a_trace_is_a_side(trace: Path) -> None:
    source = parse(str(trace), "B")
    assert framework_of(source) is None
    side = open_side(source)
    assert (side.contents, side.reading, side.network) == (None, None, None)
    assert side.trace is not None and list(side.trace.runs) == ["zero", "from_h0"]


@pytest.mark.parametrize("given", ["torch:{}", "{}#rnn", "keras:{}#rnn"])
def test_a_trace_has_neither_prefix_nor_selector(trace: Path, given: str) -> None:
    with pytest.raises(OptionError, match=r"trace has neither a framework prefix nor a selector; give its path alone"):
        open_side(parse(given.format(trace), "A"))


def test_model_files_are_told_by_content() -> None:
    assert framework_of(parse(str(FIXTURES / "simple_rnn.h5"), "A")) == "keras"
    assert framework_of(parse(str(FIXTURES / "rnn.pt"), "A")) == "torch"
    assert framework_of(parse(str(FIXTURES / "basic_rnn_cell.ckpt"), "A")) == "tensorflow"
    assert framework_of(parse(f"keras:{FIXTURES / 'rnn.safetensors'}", "A")) == "keras"
    side = open_side(parse(str(FIXTURES / "rnn.pt"), "A"))
    assert side.network is not None and (side.network.input_size, side.network.output_size) == (5, 8)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    broken = edited(single(), bias_input=np.array([[0, value, 0, value]], np.float32))
    reading = Reading(broken, Recipe("torch", (), {}), "rnn", True, {})
    monkeypatch.setattr(sides, "read_network", lambda *_: reading)
    with pytest.raises(FileError, match=r"layer 0 bias_input holds 2 weights that are NaN or infinite; .* repair"):
        open_side(parse(str(FIXTURES / "rnn.pt"), "A"))


def side(label: str, *stated: str, layers: int = 1) -> Opened:
    """A model whose file states these activations, or none."""
    network = stacked(3, [4] * (len(stated) or layers))
    if stated:
        network = network.with_activations(stated)
    reading = Reading(network, Recipe("torch", (), {}), "rnn", bool(stated), {}, assumptions=("one more",))
    return Opened(parse(f"{label}.pt", label), None, reading, None)


def recorded(label: str) -> Opened:
    return Opened(parse(f"{label}.npz", label), None, None, Trace({}))


def activations(settled: tuple[Opened, ...]) -> list[str]:
    networks: list[Network] = [s.network for s in settled if s.network]
    return ["/".join(layer.activation for layer in network.layers) for network in networks]


def test_an_activation_for_everywhere_reaches_the_sides_that_state_none() -> None:
    settled = settle_activations([side("A"), side("B", "tanh"), side("C", layers=2)], ["relu"])
    assert activations(settled) == ["relu", "tanh", "relu/relu"]
    assert settled[0].assumptions == ("activation relu: set by --activation", "one more")
    assert settled[1].assumptions == ()


def test_an_activation_for_one_side() -> None:
    settled = settle_activations([side("A"), side("B"), side("C")], ["B=relu", "c=swish"])
    assert activations(settled) == ["tanh", "relu", "silu"]
    assert settled[1].assumptions[0] == "activation relu: set by --activation"
    both = settle_activations([side("A"), side("B")], ["B=relu", "linear"])
    assert activations(both) == ["linear", "relu"]


def test_an_activation_that_no_file_states_is_borrowed_from_one_that_does() -> None:
    settled = settle_activations([side("A"), side("B", "relu"), side("C", layers=2)], [])
    assert activations(settled) == ["relu", "relu", "tanh/tanh"]
    assert settled[0].assumptions == (
        "activation relu: not in the file, borrowed from B (--activation A=NAME sets another)",
        "one more",
    )
    default = "activation tanh: not in the file, the framework's default (--activation C=NAME sets another)"
    assert settled[2].assumptions[0] == default
    layers = settle_activations([side("A", "tanh", "relu"), side("B", layers=2)], [])
    assert activations(layers) == ["tanh/relu", "tanh/relu"]
    assert layers[1].assumptions[0].startswith("activation tanh/relu: not in the file, borrowed from A")


def test_what_a_file_states_may_be_said_again() -> None:
    assert activations(settle_activations([side("A", "relu"), side("B")], ["A=relu"])) == ["relu", "relu"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["A=relu"], "--activation A=relu: A.pt states tanh"),
        (["relu", "tanh"], "--activation"),
        (["B=relu", "B=tanh"], "--activation"),
        (["sine"], "--activation sine: known are tanh, relu, linear"),
        (["B=sine"], "--activation B=sine: known are tanh"),
        (["D=relu"], "--activation D=relu: the sides are A, B, C"),
        (["=relu"], "--activation =relu: the sides are A, B, C"),
        (["B="], "--activation B=: known are"),
        (["a\nb"], r"--activation a\\nb: known are"),
        (["C=relu"], "that side is a trace, it has no activation to set"),
    ],
)
def test_options_that_make_no_sense(options: list[str], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        settle_activations([side("A", "tanh"), side("B"), recorded("C")], options)


def test_an_activation_without_effect_is_refused() -> None:
    with pytest.raises(OptionError, match="--activation relu: every file states its activation"):
        settle_activations([side("A", "tanh"), recorded("B")], ["relu"])


def test_traces_and_weights_are_left_alone() -> None:
    given = (recorded("A"), side("B"))
    settled = settle_activations(given, ["relu"])
    assert settled[0] is given[0]
    before, after = given[1].network, settled[1].network
    assert before is not None and after is not None
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(before.tensors(), after.tensors(), strict=True))
