"""Checkpoints of both generations: genuine ones, rare forms written here, and broken ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tf_files import chunk, entry, number, shape, write_v2

from rnnverify.containers.tf_checkpoint import read
from rnnverify.containers.tf_tensors import slice_key
from rnnverify.errors import FileError, RnnverifyError, UnsupportedError

FIXTURES = Path(__file__).parents[2] / "fixtures"
GENUINE = FIXTURES / "genuine"
KERNEL = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_v2_every_path_means_the_same(tmp_path: Path) -> None:
    write_v2(tmp_path / "model", {"rnn/kernel": KERNEL})
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "C:\\\\runs\\\\model"\n')
    for name in ("", "model", "model.index", "model.data-00000-of-00001", "model.meta", "checkpoint"):
        contents = read(tmp_path / name)
        assert (contents.path, contents.form) == (tmp_path / "model", "TensorFlow checkpoint V2")
        stored = contents.tensors["rnn/kernel"]
        assert (stored.shape, stored.dtype) == ((4, 3), "float32")
        np.testing.assert_array_equal(stored.read(), KERNEL)


def test_v1() -> None:
    contents = read(GENUINE / "tf-1.0.1/rnn_2l_ckptv1")
    assert contents.form == "TensorFlow checkpoint V1"
    assert contents.path.name == "model.ckpt"
    kernel = contents.tensors["rnn/multi_rnn_cell/cell_0/basic_rnn_cell/weights"]
    assert kernel.shape == kernel.read().shape == (10, 6)


def test_slices_are_put_together() -> None:
    whole = read(GENUINE / "tf-0.12.1/rnn_a_partitioned").tensors["model/RNN/BasicRNNCell/Linear/Matrix"].read()
    assert whole.shape == (13, 8)
    other = read(GENUINE / "tf-1.15.5/rnn_a_ckpt").tensors["rnn/basic_rnn_cell/kernel"].read()
    np.testing.assert_array_equal(whole, other)


@pytest.mark.parametrize(
    ("name", "extent", "key"),
    [  # as TensorFlow's OrderedCode writes them
        ("a", ((0, -1),), b"\x00a\x00\x01\x01\x01\x80\x7f"),
        ("a", ((63, 64),), b"\x00a\x00\x01\x01\x01\xbf\xc0\x40"),
        ("a\0", ((-65, 8191), (8192, 1)), b"\x00a\x00\xff\x00\x01\x01\x02\x3f\xbf\xdf\xff\xe0\x20\x00\x81"),
    ],
)
def test_slice_keys(name: str, extent: tuple[tuple[int, int], ...], key: bytes) -> None:
    assert slice_key(name, extent) == key


def test_big_endian(tmp_path: Path) -> None:
    stored = read(write_v2(tmp_path / "model", {"kernel": KERNEL}, big_endian=True)).tensors["kernel"].read()
    assert stored.dtype.isnative
    np.testing.assert_array_equal(stored, KERNEL)


def test_bfloat16_comes_as_float32(tmp_path: Path) -> None:
    bits = (np.array([1.0, -2.5, 0.15625], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    tensor = read(write_v2(tmp_path / "model", {"bias": bits})).tensors["bias"]
    assert tensor.dtype == "bfloat16"
    np.testing.assert_array_equal(tensor.read(), np.array([1.0, -2.5, 0.15625], np.float32))


def test_scalars_and_bool(tmp_path: Path) -> None:
    tensors = read(
        write_v2(tmp_path / "model", {"on": np.array([True, False]), "step": np.int32(7).reshape(())})
    ).tensors
    assert tensors["step"].read() == 7
    assert tensors["on"].read().tolist() == [True, False]


def test_strings_are_listed_and_not_read(tmp_path: Path) -> None:
    extra = {b"names": number(1, 7) + chunk(2, shape([1])) + number(5, 2)}
    tensor = read(write_v2(tmp_path / "model", {"kernel": KERNEL}, extra=extra)).tensors["names"]
    assert tensor.dtype == "string"
    with pytest.raises(UnsupportedError, match="names is string"):
        tensor.read()


def test_object_graph_is_told_apart() -> None:
    assert read(FIXTURES / "bad/evil_savedmodel_writefile/saved_model").metadata["is_object_graph"]
    assert not read(GENUINE / "tf-1.15.5/rnn_a_ckpt").metadata["is_object_graph"]


def test_the_writer_is_read_from_the_graph_beside(tmp_path: Path) -> None:
    assert read(write_v2(tmp_path / "model", {"kernel": KERNEL})).writer == "TensorFlow"
    (tmp_path / "model.meta").write_bytes(chunk(1, chunk(5, b"1.15.5")) + b"\xff")
    assert read(tmp_path / "model").writer == "TensorFlow"
    (tmp_path / "model.meta").write_bytes(chunk(1, chunk(5, b"1.15.5")))
    assert read(tmp_path / "model").writer == "TensorFlow 1.15.5"


@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("ckpt_dangling_state", "only a pointer to"),
        ("ckpt_no_data/model.ckpt.index", r"data file model\.ckpt\.data-00000-of-00001 is missing"),
        ("empty_index/model.index", "the file is empty"),
        ("savedmodel_no_variables/saved_model", "SavedModel without its variables"),
        ("trunc_ckpt_index/model.ckpt", "cut off"),
        ("empty_index", "neither a file `checkpoint` nor saved_model.pb"),
        ("no such thing", "there is no such checkpoint"),
        ("ckpt_no_data/case.json", "not a TensorFlow checkpoint"),
    ],
)
def test_broken_files(case: str, found: str) -> None:
    with pytest.raises(FileError, match=found):
        read(FIXTURES / "bad" / case)


def test_a_pointer_is_followed_beside_it_only(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    write_v2(tmp_path / "model", {"kernel": KERNEL})
    for named in ("../model", str(tmp_path / "model"), "..", ""):
        (inside / "checkpoint").write_text(f'model_checkpoint_path: "{named}"')
        with pytest.raises(FileError, match="only a pointer"):
            read(inside)


def test_damaged_values(tmp_path: Path) -> None:
    prefix = write_v2(tmp_path / "model", {"bias": KERNEL[0], "kernel": KERNEL})
    shard = tmp_path / "model.data-00000-of-00001"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(bytes(data))
    tensors = read(prefix).tensors
    np.testing.assert_array_equal(tensors["bias"].read(), KERNEL[0])
    with pytest.raises(FileError, match="checksum of kernel is wrong"):
        tensors["kernel"].read()
    shard.write_bytes(bytes(data[:-1]))
    with pytest.raises(FileError, match=r"kernel should lie in bytes 12 to 60, but the file has 59"):
        read(prefix)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (number(1, 1) + chunk(2, shape([2**40, 2**40])), "more than any file holds"),
        (number(1, 1) + chunk(2, shape([-1])), "has the shape"),
        (number(1, 1) + chunk(2, shape([1] * 40)), "has the shape"),
        (number(1, 1) + chunk(2, shape([5])) + number(5, 16), r"x is float32 \(5,\), but 16 bytes are stored"),
        (number(1, 1) + chunk(2, shape([1])) + number(4, -1) + number(5, 4), "should lie in"),
        (number(1, 1) + chunk(2, shape([1])) + number(3, 9), "data file 9 of 1"),
        (number(1, 1) + chunk(2, shape([2**30])) + chunk(7, chunk(1, b"")), "larger than all data files"),
        (number(1, 1) + chunk(2, shape([4])) + chunk(7, chunk(1, b"")), "a slice of x is missing"),
        (number(1, 1) + chunk(7, b"") * 5000, "5000 slices"),
        (chunk(2, b"\xff"), "damaged checkpoint index"),
    ],
)
def test_hostile_entries(tmp_path: Path, message: bytes, found: str) -> None:
    with pytest.raises(FileError, match=found):
        read(write_v2(tmp_path / "model", {"kernel": KERNEL}, extra={b"x": message}))


def test_slices_with_a_gap(tmp_path: Path) -> None:
    half = chunk(1, number(1, 0) + number(2, 2))
    extra = {
        b"x": number(1, 1) + chunk(2, shape([4])) + chunk(7, half),
        slice_key("x", ((0, 2),)): entry(KERNEL.ravel()[:2], 0),
    }
    tensor = read(write_v2(tmp_path / "model", {"kernel": KERNEL}, extra=extra)).tensors["x"]
    with pytest.raises(FileError, match="the slices of x leave gaps"):
        tensor.read()


def test_names_must_be_text(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="not UTF-8"):
        read(write_v2(tmp_path / "model", {}, extra={b"\xff\x1b[31m": b""}))


@pytest.mark.parametrize("case", ["tf-1.15.5/rnn_a_ckpt/model.ckpt.index", "tf-1.0.1/rnn_2l_ckptv1/model.ckpt"])
def test_a_flipped_byte_never_changes_a_value_unseen(tmp_path: Path, case: str) -> None:
    genuine = GENUINE / case
    shutil.copytree(genuine.parent, tmp_path / "copy")
    copy = tmp_path / "copy" / genuine.name
    wanted = {name: tensor.read() for name, tensor in read(genuine).tensors.items()}
    original = genuine.read_bytes()
    for at in range(0, len(original), 7):
        damaged = bytearray(original)
        damaged[at] ^= 0x55
        copy.write_bytes(bytes(damaged))
        try:
            found = {name: tensor.read() for name, tensor in read(copy).tensors.items()}
        except RnnverifyError:
            continue
        assert found.keys() == wanted.keys()
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
