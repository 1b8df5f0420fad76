"""HDF5 files: what is listed, what is refused, and what stops the reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnverify.containers import hdf5
from rnnverify.containers.keras_json import parse_object
from rnnverify.errors import FileError

FIXTURES = Path(__file__).parents[2] / "fixtures"
BAD, GENUINE = FIXTURES / "bad", FIXTURES / "genuine"


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """An HDF5 file open for writing; reading it again needs `close` first."""
    with h5py.File(tmp_path / "model.h5", "w") as opened:
        yield opened


def contents(file: Any) -> Any:
    path = Path(file.filename)
    file.close()
    return hdf5.read(path)


def test_full_model_states_writer_config_and_weights_in_order() -> None:
    read = hdf5.read(GENUINE / "keras-2.3.1/rnn_3l_het_cells/model.h5")
    assert (read.form, read.framework, read.writer) == ("HDF5", "keras", "Keras 2.3.1 (tensorflow backend)")
    assert isinstance(read.metadata["model_config"], dict)
    weights = read.metadata["layer_weights"]
    assert isinstance(weights, dict)
    assert weights["rnn_1"][0] == "rnn_1/rnn_1/kernel:0"
    assert weights["rnn_1"][3] == "rnn_1/b'rnn_1/kernel:0'_2"
    assert all(name in read.tensors for name in weights["rnn_1"])


def test_optimizer_state_keeps_its_whole_path() -> None:
    read = hdf5.read(GENUINE / "tf_keras-2.21.0/rnn_a_compiled/model.h5")
    assert any(name.startswith("optimizer_weights/") for name in read.tensors)


def test_keras_0_3_numbers_its_weights() -> None:
    read = hdf5.read(GENUINE / "keras-0.3.3-theano/rnn_back_weights/weights.h5")
    assert read.metadata["layer_weights"] == {"layer_0": [f"layer_0/param_{k}" for k in range(3)]}


@pytest.mark.parametrize("stored", [">f4", "<f4", ">f8", "<f2"])
def test_values_come_in_native_order(file: Any, stored: str) -> None:
    values = np.arange(6, dtype=stored).reshape(2, 3)
    file["a/b"] = values
    tensor = contents(file).tensors["a/b"]
    array = tensor.read()
    assert tensor.shape == array.shape == (2, 3)
    assert array.dtype.isnative and array.dtype.name == tensor.dtype
    assert np.array_equal(array, values)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.floats(width=16, allow_nan=False), min_size=1, max_size=9))
def test_bfloat16_is_the_upper_half_of_float32(tmp_path_factory: pytest.TempPathFactory, numbers: list[float]) -> None:
    exact = (np.array(numbers, "<f4").view("<u4") & 0xFFFF0000).view("<f4")  # what bfloat16 can hold
    path = tmp_path_factory.mktemp("bfloat16") / "model.h5"
    with h5py.File(path, "w") as file:
        halves = (exact.view("<u4") >> 16).astype("<u2")
        dataset = file.create_dataset("w", data=np.frombuffer(halves.tobytes(), "V2"))
        dataset.attrs["dtype"] = "bfloat16"
    tensor = hdf5.read(path).tensors["w"]
    assert tensor.dtype == "bfloat16"
    assert np.array_equal(tensor.read(), exact)


def test_long_lists_of_names_are_joined(file: Any) -> None:
    file.attrs["layer_names0"] = [b"a"]
    file.attrs["layer_names1"] = ["b"]
    for layer in "ab":
        file.create_group(layer).attrs["weight_names"] = [f"{layer}/kernel:0"]
    assert contents(file).metadata["layer_weights"] == {"a": ["a/a/kernel:0"], "b": ["b/b/kernel:0"]}


def test_what_can_be_no_weight_is_refused_by_name_and_not_followed(file: Any, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["w"] = np.ones(3)
    layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "w", shape=(3,))
    file.create_virtual_dataset("virtual", layout)
    file["outside"] = h5py.ExternalLink("other.h5", "w")
    file["soft"] = h5py.SoftLink("/fine")
    file["fine"] = np.ones(3)
    file["text"] = np.array([b"a", b"b"])
    file["record"] = np.zeros(2, [("a", "f4")])
    file["complex"] = np.zeros(2, "c8")
    file["empty"] = h5py.Empty("f4")
    file.create_dataset("reference", data=np.array([file["fine"].ref], dtype=h5py.ref_dtype))
    file.create_dataset("external", (3,), "f8", external=[(str(tmp_path / "raw"), 0, 24)])
    read = contents(file)
    assert [*read.tensors] == ["fine"]
    refused = {
        "virtual": "virtual",
        "outside": "link into another file",
        "soft": "soft link",
        "text": "text",
        "record": "records",
        "complex": "not of real numbers",
        "empty": "without values",
        "reference": "object references",
        "external": "stored in another file",
    }
    assert read.metadata["refused"].keys() == refused.keys()
    for name, phrase in refused.items():
        assert phrase in read.metadata["refused"][name]


def test_names_of_layers_follow_no_link_out(file: Any, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other.create_group("a").attrs["weight_names"] = ["stolen"]
    file.attrs["layer_names"] = ["a"]
    file["a"] = h5py.ExternalLink("other.h5", "a")
    assert contents(file).metadata["layer_weights"] == {}


def test_cycles_of_hard_links_end() -> None:
    assert len(hdf5.read(BAD / "h5_hard_cycle/model.h5").tensors) == 3


@pytest.mark.parametrize("case", ["huge_h5_gzip", "huge_h5_unallocated"])
def test_sizes_that_the_file_does_not_hold_are_not_allocated(case: str) -> None:
    read = hdf5.read(BAD / case / "weights.h5")
    with pytest.raises(FileError, match=r"announces .* bytes, but the file stores 0"):
        read.tensors["simple_rnn_1/simple_rnn_1/kernel:0"].read()


def test_gzip_of_endless_zeros_is_not_inflated(file: Any) -> None:
    file.create_dataset("w", data=np.zeros(2**23, "f4"), compression="gzip", compression_opts=9)
    tensor = contents(file).tensors["w"]
    with pytest.raises(FileError, match="announces 33554432 bytes"):
        tensor.read()


def test_gzip_of_weights_is_read(file: Any) -> None:
    file.create_dataset("w", data=np.arange(64.0).reshape(8, 8), compression="gzip")
    assert contents(file).tensors["w"].read()[7, 7] == 63


@pytest.mark.parametrize(
    ("data", "phrase"),
    [
        (b"", "the file is empty"),
        (b"\x89HDF\r\n\x1a\n", "truncated or damaged"),
        (b"no HDF5 at all", "truncated or damaged"),
        ((GENUINE / "keras-2.0.9/rnn_a_cell/model.h5").read_bytes()[:6000], "truncated or damaged"),
    ],
)
def test_broken_files_are_one_sentence(tmp_path: Path, data: bytes, phrase: str) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(data)
    with pytest.raises(FileError, match=phrase) as caught:
        hdf5.read(path)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no plain file"):
        hdf5.read(tmp_path)
    with pytest.raises(FileError, match="no such file"):
        hdf5.read(tmp_path / "model.h5")


def test_attributes_of_the_wrong_kind_are_refused(file: Any) -> None:
    file.attrs["layer_names"] = np.arange(3)
    with pytest.raises(FileError, match=r"layer_names .* no list of names"):
        contents(file)


def test_config_that_is_cut_off_is_refused() -> None:
    with pytest.raises(FileError, match="model_config is cut off"):
        hdf5.read(BAD / "h5_config_notjson/model.h5")


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("[1]", "no JSON object"),
        ('{"a": ', "cut off"),
        (b'{"a": "\xff"}', "no text"),
        ('{"a":' * 101 + "1" + "}" * 101, "nested more than 100"),
        ('{"a":' * 10**6 + "1" + "}" * 10**6, "nested"),
    ],
)
def test_bad_json_is_refused(text: str | bytes, phrase: str) -> None:
    with pytest.raises(FileError, match=phrase):
        parse_object(Path("m"), "config.json", text)


def test_deep_but_sane_json_is_read() -> None:
    assert parse_object(Path("m"), "config.json", '{"a":' * 90 + "1" + "}" * 90)


def test_small_arrays_are_read_with_the_listing_and_large_ones_when_asked_for(file: Any) -> None:
    file["small"], file["large"] = np.ones(4), np.ones(2**14)
    read = contents(file)
    np.testing.assert_array_equal(read.tensors["large"].read(), np.ones(2**14))
    read.path.unlink()
    read.tensors["small"].read()[:] = 0  # a copy of one's own
    np.testing.assert_array_equal(read.tensors["small"].read(), np.ones(4))
    with pytest.raises(FileError, match="truncated or damaged"):
        read.tensors["large"].read()


def test_a_damaged_array_is_the_error_of_who_reads_it(file: Any) -> None:
    file["sound"] = np.ones(4)
    broken = file.create_dataset("broken", (4,), "f4", chunks=(4,), compression="gzip")
    broken.id.write_direct_chunk((0,), b"no deflate stream")
    read = contents(file)
    np.testing.assert_array_equal(read.tensors["sound"].read(), np.ones(4))
    with pytest.raises(FileError, match="truncated or damaged"):
        read.tensors["broken"].read()
