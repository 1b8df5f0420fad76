"""The wire format: what is read, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tf_files import chunk, number, varint

from rnnverify.containers.protobuf import MalformedError, parse, read_varint, signed


@given(st.integers(0, 2**64 - 1))
def test_varints_come_back(value: int) -> None:
    assert read_varint(varint(value), 0) == (value, len(varint(value)))


@given(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=300), st.integers(1, 2**29 - 1))
def test_fields_come_back(value: int, data: bytes, field: int) -> None:
    message = parse(number(field, value) + chunk(field, data))
    assert message.number(field) == value
    assert message.chunk(field) == data


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse(data)
    except MalformedError:
        assert data


def test_absent_fields_are_zero_and_empty() -> None:
    assert (parse(b"").number(1), parse(b"").text(2), parse(b"").messages(3)) == (0, "", [])


def test_fixed_widths() -> None:
    message = parse(varint(1 << 3 | 5) + b"\x01\0\0\0" + varint(2 << 3 | 1) + b"\x02" + bytes(7))
    assert (message.number(1), message.number(2)) == (1, 2)


def test_minus_one() -> None:
    assert signed(2**64 - 1) == -1


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\x80", "cut off"),
        (b"\xff" * 11, "longer than 64 bits"),
        (chunk(1, b"abc")[:-1], "announces 3 bytes where 2 are left"),
        (varint(1 << 3 | 2) + varint(2**60), "announces"),
        (varint(1 << 3 | 3), "wire type 3"),
        (number(0, 1), "no field 0"),
    ],
)
def test_refused(data: bytes, found: str) -> None:
    with pytest.raises(MalformedError, match=found):
        parse(data)


def test_a_beginning_may_be_cut() -> None:
    assert bytes(parse(chunk(1, b"abc")[:-1], cut=True).chunk(1)) == b"ab"


def test_text_must_be_utf8() -> None:
    with pytest.raises(MalformedError, match="UTF-8"):
        parse(chunk(1, b"\xff")).text(1)
