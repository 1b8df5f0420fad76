"""The sorted table: any entries come back, any damage is refused."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tf_files import MAGIC, block, table, varint

from rnnverify.containers.tf_table import Table
from rnnverify.errors import FileError, UnsupportedError

ENTRIES = {b"": b"header", b"rnn/bias": b"b", b"rnn/kernel": b"k" * 300, b"softmax": b""}
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def write(folder: Path, data: bytes) -> Path:
    path = folder / "model.index"
    path.write_bytes(data)
    return path


@same_folder
@given(entries=st.dictionaries(st.binary(max_size=9), st.binary(max_size=99), min_size=1), per_block=st.integers(1, 5))
def test_entries_come_back(tmp_path: Path, entries: dict[bytes, bytes], per_block: int) -> None:
    read = Table(write(tmp_path, table(entries, per_block)))
    assert {key: bytes(value) for key, value in read.items()} == entries
    for key, value in entries.items():
        found = read.get(key)
        assert found is not None and bytes(found) == value
    assert read.get(b"longer than any key") is None


@same_folder
@given(at=st.integers(0, len(table(ENTRIES)) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_harmless(tmp_path: Path, at: int, bit: int) -> None:
    data = bytearray(table(ENTRIES))
    data[at] ^= 1 << bit
    try:
        assert {key: bytes(value) for key, value in Table(write(tmp_path, bytes(data))).items()} == ENTRIES
    except FileError as error:
        assert "model.index" in str(error)


@pytest.mark.parametrize("size", [1, 47, 60, 200, len(table(ENTRIES)) - 1])
def test_truncated(tmp_path: Path, size: int) -> None:
    with pytest.raises(FileError, match="damaged checkpoint table"):
        Table(write(tmp_path, table(ENTRIES)[:size]))


def test_empty(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="the file is empty"):
        Table(write(tmp_path, b""))


def test_a_block_beyond_the_file(tmp_path: Path) -> None:
    handles = varint(0) + varint(0) + varint(10) + varint(2**62)
    with pytest.raises(FileError, match="lies beyond"):
        Table(write(tmp_path, bytes(100) + handles.ljust(40, b"\0") + MAGIC))


def test_a_block_listed_twice(tmp_path: Path) -> None:
    data = block([(b"a", b"")])
    place = varint(0) + varint(len(data) - 5)
    index = block([(b"a", place), (b"b", place)])
    handles = varint(0) + varint(len(data) - 5) + varint(len(data)) + varint(len(index) - 5)
    with pytest.raises(FileError, match="overlap or are out of order"):
        Table(write(tmp_path, data + index + handles.ljust(40, b"\0") + MAGIC))


def test_keys_out_of_order(tmp_path: Path) -> None:
    data = block([(b"b", b""), (b"a", b"")])
    index = block([(b"b", varint(0) + varint(len(data) - 5))])
    handles = varint(0) + varint(len(data) - 5) + varint(len(data)) + varint(len(index) - 5)
    with pytest.raises(FileError, match="keys are out of order"):
        list(Table(write(tmp_path, data + index + handles.ljust(40, b"\0") + MAGIC)).items())


def test_compression_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"compressed \(type 2\)"):
        list(Table(write(tmp_path, table(ENTRIES, compression=2))).items())


def test_blocks_compressed_by_snappy_are_read(tmp_path: Path) -> None:
    read = Table(write(tmp_path, table(ENTRIES, compression=1)))
    assert {key: bytes(value) for key, value in read.items()} == ENTRIES


def test_a_damaged_snappy_block_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnverify.containers.tf_table._SNAPPY_AT_MOST", 0)
    with pytest.raises(FileError, match="damaged checkpoint table: in a block a compressed block announces"):
        list(Table(write(tmp_path, table(ENTRIES, compression=1))).items())
