"""TensorFlow graphs: nodes, loops and calls laid out flat, and every damaged one refused in a sentence."""

from pathlib import Path

import pytest
from graph_files import calls, cell, function_def, graph_def, meta_graph, node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tf_files import chunk, number

from rnnverify.containers import form_of, open_model
from rnnverify.containers.tf_graph import is_graph, producer, read_graph
from rnnverify.errors import FileError, UnsupportedError


def written(folder: Path, data: bytes, name: str = "g.pb") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "wrap",
    [lambda g: g, lambda g: chunk(1, chunk(5, b"1.8.0")) + chunk(2, g), lambda g: number(1, 1) + chunk(2, chunk(2, g))],
)
def test_a_graph_is_the_same_in_every_file_that_holds_it(tmp_path: Path, wrap: object) -> None:
    plain = graph_def(node("a", "Placeholder"), node("b", "Tanh", "a:0", "^a"))
    assert callable(wrap)
    graph = read_graph(written(tmp_path, wrap(plain)))
    assert {n.name: (n.op, n.inputs) for n in graph.values()} == {"a": ("Placeholder", ()), "b": ("Tanh", ("a",))}


def test_a_loop_of_functions_becomes_one_of_merges(tmp_path: Path) -> None:
    body = function_def("body", {"h": "act:y:0", "w": "w"}, node("act", "Tanh", "h"))
    loop = node("loop", "StatelessWhile", "start", "weight", body=calls("body"), cond=calls("cond"))
    nodes = graph_def(
        node("start", "Fill"), node("weight", "Const"), loop, node("y", "Identity", "loop:1"), library=body
    )
    graph = read_graph(written(tmp_path, nodes))
    assert graph["loop/entry_0"].inputs == ("start", "loop/body/act")
    assert graph["loop/entry_1"].inputs == ("weight", "loop/entry_1")
    assert graph["loop/body/act"].inputs == ("loop/entry_0",)
    source = producer(graph, graph["y"].inputs[0])
    assert source and source.inputs == ("loop/entry_1",)


def test_calls_and_branches_are_laid_out(tmp_path: Path) -> None:
    library = function_def("f", {"a": "g:y:0"}, node("g", "Relu", "a")) + function_def("e", {"a": "a"})
    nodes = graph_def(
        node("x", "Placeholder"),
        node("call", "PartitionedCall", "x", f=calls("f")),
        node("if", "If", "x", "call", then_branch=calls("f"), else_branch=calls("e")),
        library=library,
    )
    graph = read_graph(written(tmp_path, nodes))
    assert graph["call"].inputs == ("call/f/g",) and graph["call/f/g"].inputs == ("x",)
    assert graph["if"].inputs == ("if/f/g", "call")


def test_a_function_that_calls_itself_ends(tmp_path: Path) -> None:
    twice = [node(f"n{k}", "PartitionedCall", "a", f=calls("f")) for k in range(2)]
    nodes = graph_def(
        node("x", "Placeholder"),
        node("call", "PartitionedCall", "x", f=calls("f")),
        library=function_def("f", {"a": "n0:output:0"}, *twice),
    )
    assert len(read_graph(written(tmp_path, nodes))) < 3000


def test_too_many_operations_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnverify.containers.tf_graph._MOST_NODES", 3)
    path = written(tmp_path, graph_def(*(node(f"n{k}", "NoOp") for k in range(4))))
    with pytest.raises(FileError, match="more than 3 operations"):
        read_graph(path)


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (
            meta_graph(node("a", "NoOp")),
            "m.ckpt.meta",
            r"holds no weights; give the prefix of the checkpoint: m\.ckpt$",
        ),
        (b'node {\n  name: "x"\n}\n', "g.pbtxt", "written as text; write it as a binary"),
        (b'# a comment\nnode: {\n  name: "x"\n}\n', "g.pbtxt", "written as text"),
    ],
)
def test_graphs_without_weights_are_named(tmp_path: Path, data: bytes, name: str, words: str) -> None:
    with pytest.raises(FileError, match=words):
        form_of(written(tmp_path, data, name))


def test_text_is_unsupported_rather_than_broken(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError):
        form_of(written(tmp_path, b"versions {\n producer: 24\n}\n"))


def test_other_files_are_no_graphs() -> None:
    assert is_graph(graph_def(node("a", "NoOp")))
    for start in (
        b"",
        b"\x0a",
        meta_graph(node("a", "NoOp")),
        b"\x89HDF\r\n\x1a\n",
        b"node {",
        number(1, 8) + chunk(2, b"onnx"),
    ):
        assert not is_graph(start)


WHOLE = graph_def(*cell("rnn/basic_rnn_cell"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, len(WHOLE)), at=st.integers(0, len(WHOLE) - 1), octet=st.integers(0, 255))
def test_any_damage_ends_in_a_sentence_or_in_nothing(tmp_path: Path, cut: int, at: int, octet: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[at] = octet
    path = written(tmp_path, bytes(damaged[:cut]))
    try:
        open_model(path)
    except FileError as error:
        assert "\n" not in str(error) and "g.pb" in str(error)
