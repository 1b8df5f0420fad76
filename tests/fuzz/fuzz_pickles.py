"""Mutations of pickles, opcode by opcode, and of the files of torch.save that hold them."""

from __future__ import annotations

import pickletools
import struct
from random import Random

from fuzz_values import Sample, fixture, integer, mutated_bytes, mutated_json, spliced
from fuzz_zips import mutated_zip

_GLOBALS = (
    b"torch._utils _rebuild_tensor_v2", b"torch FloatStorage", b"collections OrderedDict", b"builtins eval",
    b"torch._utils _rebuild_parameter", b"torch Size", b"numpy.core.multiarray _reconstruct", b"numpy dtype",
    b"_codecs encode", b"os system",
)  # fmt: skip
_ZIPS = (
    "rnn.pt",
    "two_parts.pt",
    "bidirectional.pt",
    "whole_module.pt",
    "genuine/torch-2.13.0/rnn_a_ckpt_np/ckpt.pth",
    "genuine/torch-2.13.0/rnn_a_module/model.pt",
    "genuine/torch-2.13.0/rnn_2l_script/model.pt",
    "genuine/torch-2.13.0/rnn_2l_pt2/model.pt2",
)
_LEGACY = (
    "rnn_legacy.pt",
    "genuine/torch-1.0.1/rnn_a_views/model.pt",
    "genuine/torch-1.0.1/rnn_a_module/model.pt",
    "genuine/torch-1.0.0-py27/rnn_a_ckpt/checkpoint.pth.tar",
)


def torch_zip(rng: Random) -> Sample:
    data = fixture(rng.choice(_ZIPS))
    return Sample("model.pt", {"model.pt": mutated_zip(rng, data, {".pkl": mutated_pickle, ".json": mutated_json})})


def torch_legacy(rng: Random) -> Sample:
    """Four pickles one after another (magic, protocol, system, objects), one of storage keys, then the storages."""
    rest, pickles = fixture(rng.choice(_LEGACY)), []
    for _ in range(5):
        parts, end = opcodes(rest)
        pickles.append(b"".join(parts))
        rest = rest[end:]
    k = rng.choices(range(5), (1, 1, 1, 10, 4))[0]
    pickles[k] = mutated_pickle(rng, pickles[k])
    if rng.random() < 0.2:
        rest = mutated_bytes(rng, rest)
    return Sample("model.pt", {"model.pt": b"".join(pickles) + rest})


def mutated_pickle(rng: Random, data: bytes) -> bytes:
    parts, end = opcodes(data)
    changed: list[bytes] = spliced(rng, parts, _changed, random_opcode)
    return b"".join(changed) + data[end:]


def opcodes(data: bytes) -> tuple[list[bytes], int]:
    """The first pickle in `data`, an opcode with its argument at a time, and where it ends."""
    places = [int(place or 0) for _, _, place in pickletools.genops(data)]
    end = data.index(b".", places[-1]) + 1
    ends = [*places[1:], end]
    return [data[start:stop] for start, stop in zip(places, ends, strict=True)], end


def random_opcode(rng: Random) -> bytes:
    """Any opcode there is, with some argument of its form."""
    opcode = rng.choice(pickletools.opcodes)
    code = _code(opcode)
    name = opcode.arg.name if opcode.arg else ""
    if opcode.name in ("GLOBAL", "INST"):
        return code + rng.choice(_GLOBALS).replace(b" ", b"\n") + b"\n"
    if opcode.arg is None:
        return code
    if name.endswith("1") and opcode.arg.n < 0:
        return code + _counted(rng, "<B")
    if name.endswith("4") and opcode.arg.n < 0:
        return code + _counted(rng, "<I")
    if name.endswith("8") and opcode.arg.n < 0:
        return code + _counted(rng, "<Q")
    if opcode.arg.n == pickletools.UP_TO_NEWLINE:
        return code + rng.choice((b"0", b"1", str(integer(rng)).encode(), b"'a'", b"1e999", b"9" * 5000, b"")) + b"\n"
    width = max(opcode.arg.n, 1)
    return code + (integer(rng) % (1 << 8 * width)).to_bytes(width, rng.choice(("little", "big")))


def _counted(rng: Random, form: str) -> bytes:
    size = struct.calcsize(form)
    content = rng.randbytes(rng.choice((0, 1, 8, 40)))
    announced = len(content) if rng.random() < 0.7 else integer(rng)
    return struct.pack(form, announced % 256**size) + content


def _changed(rng: Random, part: bytes) -> bytes:
    """Another argument behind the same opcode, or another opcode before the same argument."""
    if len(part) > 1 and rng.random() < 0.8:
        return part[:1] + mutated_bytes(rng, part[1:], 1)
    return _code(rng.choice(pickletools.opcodes)) + part[1:]


def _code(opcode: pickletools.OpcodeInfo) -> bytes:
    return str(opcode.code).encode("latin-1")
