"""Frozen graphs: constants as tensors, in every way in which a TensorProto holds numbers."""

from pathlib import Path

import numpy as np
import pytest
from graph_files import const, graph_def, node, variable
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tf_files import DTYPES, chunk, number, shape, varint

from rnnverify.canonical import Array
from rnnverify.containers import open_model
from rnnverify.containers.contents import Contents
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_constant import constant
from rnnverify.containers.tf_graph import Node
from rnnverify.errors import FileError


def frozen(folder: Path, *nodes: bytes) -> Contents:
    path = folder / "g.pb"
    path.write_bytes(graph_def(*nodes))
    return open_model(path)


def const_node(tensor: bytes) -> Node:
    return Node("c", "Const", (), {"value": memoryview(chunk(8, tensor))})


def test_floating_point_constants_are_the_tensors(tmp_path: Path) -> None:
    kernel = np.arange(6, dtype=np.float32).reshape(3, 2)
    scalar, other = np.array(1, np.float32), np.array([1], np.int32)
    contents = frozen(tmp_path, const("a/kernel", kernel), const("a/axis", other), const("a/alpha", scalar))
    assert list(contents.tensors) == ["a/kernel"] and contents.form == "TensorFlow frozen graph"
    np.testing.assert_array_equal(contents.tensors["a/kernel"].read(), kernel)


def test_parts_of_a_variable_are_joined(tmp_path: Path) -> None:
    whole = np.arange(12, dtype=np.float32).reshape(4, 3)
    for axis in (0, 1):
        first, second = np.split(whole, [1], axis=axis)
        contents = frozen(
            tmp_path,
            const("k/part_0", first),
            const("k/part_1", second),
            const("axis", np.array(axis, np.int32)),
            node("loop/k/ConcatPartitions/concat", "ConcatV2", "k/part_0", "k/part_1", "axis"),
        )
        assert list(contents.tensors) == ["k"] and contents.tensors["k"].shape == (4, 3)
        np.testing.assert_array_equal(contents.tensors["k"].read(), whole)


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="the parts of k do not fit together"):
        frozen(
            tmp_path,
            const("k/part_0", np.zeros((1, 3), np.float32)),
            const("k/part_1", np.zeros((1, 2), np.float32)),
            const("axis", np.array(0, np.int32)),
            node("k/ConcatPartitions/concat", "ConcatV2", "k/part_0", "k/part_1", "axis"),
        )


def test_a_graph_of_variables_holds_no_weights(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="2 variables and no weights; freeze it with"):
        frozen(tmp_path, variable("a", 2), variable("b", 2))


@given(hnp.arrays(st.sampled_from([np.float16, np.float32, np.float64]), hnp.array_shapes(min_dims=0, max_side=4)))
def test_numbers_are_read_as_they_were_written(value: Array) -> None:
    raw = number(1, DTYPES[value.dtype.name]) + chunk(2, shape(value.shape)) + chunk(4, value.tobytes())
    fields = {"float32": 5, "float64": 6}
    halves = b"".join(varint(int(v)) for v in value.reshape(-1).view(np.uint16)) if value.dtype == np.float16 else b""
    listed = chunk(fields.get(value.dtype.name, 13), halves or value.tobytes())
    for tensor in (raw, number(1, DTYPES[value.dtype.name]) + chunk(2, shape(value.shape)) + listed):
        read = constant(const_node(tensor))
        assert read.dtype == value.dtype and read.tobytes() == value.tobytes() and read.shape == value.shape


def test_the_last_number_repeats() -> None:
    tensor = number(1, DTYPES["float32"]) + chunk(2, shape([2, 2]))
    values = chunk(5, np.array([1, 5], np.float32).tobytes())
    np.testing.assert_array_equal(constant(const_node(tensor + values)), [[1, 5], [5, 5]])


def test_no_numbers_at_all_are_zeros() -> None:
    """As TensorFlow itself reads them, whose Grappler leaves them out."""
    for sizes in ([], [2, 2]):
        read = constant(const_node(number(1, DTYPES["float32"]) + chunk(2, shape(sizes))))
        assert read.shape == tuple(sizes) and not read.any()


@pytest.mark.parametrize(
    ("sizes", "values"),
    [([1 << 30], chunk(5, bytes(4))), ([1 << 30], b""), ([1], chunk(5, bytes(8))), ([3], chunk(4, bytes(8)))],
)
def test_numbers_that_do_not_fill_the_shape_are_refused(sizes: list[int], values: bytes) -> None:
    with pytest.raises(MalformedError, match="for its shape"):
        constant(const_node(number(1, DTYPES["float32"]) + chunk(2, shape(sizes)) + values))


def test_text_is_no_number() -> None:
    with pytest.raises(MalformedError, match="is string, which"):
        constant(const_node(number(1, DTYPES["string"]) + chunk(2, shape([1]))))
