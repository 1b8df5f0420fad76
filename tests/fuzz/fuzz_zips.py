"""Mutations of zip archives: sound ones with mutated members, and archives whose own records are damaged."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from random import Random

from fuzz_values import integer, mutated_bytes, spliced

Mutate = Callable[[Random, bytes], bytes]


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def mutated_zip(rng: Random, data: bytes, by_suffix: Mapping[str, Mutate]) -> bytes:
    """The archive with members mutated by what their names end in, and checksums that hold again."""
    files = list(members(data).items())
    if rng.random() < 0.85:
        k = rng.randrange(len(files))
        known = [j for j, (name, _) in enumerate(files) if any(name.endswith(end) for end in by_suffix)]
        k = rng.choice(known) if known and rng.random() < 0.8 else k
        name, content = files[k]
        change = next((f for end, f in by_suffix.items() if name.endswith(end)), mutated_bytes)
        files[k] = (name, change(rng, content))
    if rng.random() < 0.25:
        files = spliced(
            rng, files, _renamed, lambda r: (r.choice(("x", "", "a/../b", "version")), r.randbytes(r.randrange(99)))
        )
    out = archive(rng, files)
    return mutated_records(rng, out) if rng.random() < 0.15 else out


def archive(rng: Random, files: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for name, content in files:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
            if name in out.NameToInfo:  # zipfile warns of a repeated name, which is what is wanted here
                del out.NameToInfo[name]
            out.writestr(info, content)
    return buffer.getvalue()


def mutated_records(rng: Random, data: bytes) -> bytes:
    """An archive with a field of its local headers, its directory, or the end of it overwritten."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        signature = rng.choice((b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"))
        places = [k for k in range(len(out)) if out.startswith(signature, k)]
        if places:
            at = rng.choice(places) + rng.randrange(4, 46)
            width = rng.choice((1, 2, 4))
            out[at : at + width] = (integer(rng) % 256**width).to_bytes(width, "little")
    return bytes(out)


def _renamed(rng: Random, member: tuple[str, bytes]) -> tuple[str, bytes]:
    name, content = member
    return mutated_bytes(rng, name.encode(), 1).decode("latin-1"), content
