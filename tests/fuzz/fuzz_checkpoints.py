"""Mutations of TensorFlow checkpoints: of the messages in their tables, and of the tables; checksums hold again."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random

from fuzz_values import FIXTURES, Sample, fixture, integer, mutated_bytes, spliced
from tf_files import table, varint

from rnnverify.containers.crc32c import masked_crc32c
from rnnverify.containers.protobuf import MalformedError, read_varint
from rnnverify.containers.tf_table import Table

_V2 = (
    "basic_rnn_cell.ckpt",
    "stacked.ckpt",
    "bidirectional.ckpt",
    "genuine/tf-0.12.1/rnn_a_partitioned/model.ckpt",
    "genuine/tf-2.21.0-compat.v1/rnn_f16_ckpt/model.ckpt",
)
_V1 = ("genuine/tf-1.0.1/rnn_2l_ckptv1/model.ckpt",)
_DATA = ".data-00000-of-00001"
Field = tuple[int, int, int | bytes]  # number, wire type, value


def checkpoint_v2(rng: Random) -> Sample:
    name = rng.choice(_V2)
    index, data = fixture(f"{name}.index"), fixture(name + _DATA)
    index = mutated_table(rng, f"{name}.index", index)
    if rng.random() < 0.1:
        data = mutated_bytes(rng, data)
    return Sample("model.ckpt.index", {"model.ckpt.index": index, f"model.ckpt{_DATA}": data})


def checkpoint_v1(rng: Random) -> Sample:
    name = rng.choice(_V1)
    return Sample("model.ckpt", {"model.ckpt": mutated_table(rng, name, fixture(name))})


def mutated_table(rng: Random, name: str, data: bytes) -> bytes:
    """The table of a fixture with its entries changed, or with its bytes changed and its checksums set right."""
    if rng.random() < 0.25:
        return with_checksums(mutated_bytes(rng, data), data)
    entries = spliced(rng, entries_of(name), _changed_entry, _new_entry)
    return table(dict(entries), per_block=rng.choice((1, 2, 16)), compression=1 if rng.random() < 0.02 else 0)


@cache
def entries_of(name: str) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((bytes(key), bytes(value)) for key, value in Table(FIXTURES / Path(name)).items())


def with_checksums(changed: bytes, sound: bytes) -> bytes:
    """`changed` with the checksum behind each block of `sound` computed anew; as it is where its length changed."""
    out = bytearray(changed)
    if len(changed) == len(sound):
        for start, end in blocks(sound):
            out[end - 4 : end] = masked_crc32c(bytes(out[start : end - 4])).to_bytes(4, "little")
    return bytes(out)


@cache
def blocks(table: bytes) -> tuple[tuple[int, int], ...]:
    """Where each block with its checksum begins and ends, told by the checksums that hold."""
    found, start = [], 0
    for end in range(5, len(table) - 47):
        if end - start >= 5 and masked_crc32c(table[start : end - 4]) == int.from_bytes(table[end - 4 : end], "little"):
            found.append((start, end))
            start = end
    return tuple(found)


def mutated_message(rng: Random, data: bytes) -> bytes:
    """A protobuf message with fields changed, at any depth, and lengths that hold again."""
    fields = parsed(data)
    return encoded(spliced(rng, fields, _changed_field, _new_field)) if fields else mutated_bytes(rng, data)


def parsed(data: bytes) -> list[Field]:
    """The fields of a message; none where `data` is none."""
    fields: list[Field] = []
    at = 0
    try:
        while at < len(data):
            tag, at = read_varint(data, at)
            number, wire = tag >> 3, tag & 7
            value: int | bytes
            if wire == 0:
                value, at = read_varint(data, at)
            else:
                size, at = read_varint(data, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
                value, at = data[at : at + size], at + size
            if number == 0 or at > len(data):
                return []
            fields.append((number, wire, value))
    except (MalformedError, KeyError):
        return []
    return fields


def encoded(fields: list[Field]) -> bytes:
    out = b""
    for number, wire, value in fields:
        out += varint(number << 3 | wire)
        if isinstance(value, int):
            out += varint(value)
        else:
            out += (varint(len(value)) if wire == 2 else b"") + value
    return out


def _changed_field(rng: Random, field: Field) -> Field:
    number, wire, value = field
    if rng.random() < 0.1:
        return rng.randrange(1, 20), wire, value
    if isinstance(value, int):
        return number, wire, integer(rng, value)
    if wire == 2 and parsed(value) and rng.random() < 0.8:
        return number, wire, mutated_message(rng, value)
    changed = mutated_bytes(rng, value, 1)
    return number, wire, changed if wire == 2 else changed.ljust(len(value), b"\0")[: len(value)]


def _new_field(rng: Random) -> Field:
    number = rng.randrange(1, 16)
    return (number, 0, integer(rng)) if rng.random() < 0.5 else (number, 2, rng.randbytes(rng.randrange(12)))


def _changed_entry(rng: Random, entry: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    key, value = entry
    return (mutated_bytes(rng, key, 1), value) if rng.random() < 0.15 else (key, mutated_message(rng, value))


def _new_entry(rng: Random) -> tuple[bytes, bytes]:
    return rng.randbytes(rng.randrange(20)), rng.randbytes(rng.randrange(40))
