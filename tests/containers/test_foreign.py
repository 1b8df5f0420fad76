"""Forms that are known, and not read, are refused by name; others are not mistaken for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rnnverify.containers import form_of
from rnnverify.errors import FileError, UnsupportedError

FLAX = b"\x81\xa6params\x82\xacbackward_rnn\x81\xa4cell"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (FLAX, "is MessagePack"),
        (b"\xde\x00\x11\xa6params", "is MessagePack"),
        (b"\x82\xd9\x28" + b"a" * 40, "is MessagePack"),
    ],
)
def test_a_file_of_a_known_form_is_named(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(data)
    with pytest.raises(UnsupportedError, match=f"{words}.*which this version does not read; run it in its own runtime"):
        form_of(path)


@pytest.mark.parametrize(
    "data", [b"text", b"\x08\x60\x12\x07", b"\x08", b"\x81", b"\x81\x00\xa6", b"\xde", b"\x0a\x2a\x0a"]
)
def test_others_are_not_mistaken_for_them(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(data)
    with pytest.raises(FileError) as caught:
        form_of(path)
    assert not isinstance(caught.value, UnsupportedError)


def test_flax_in_an_npz_and_an_orbax_directory_are_named(tmp_path: Path) -> None:
    # the stubs of savez take every name for a keyword of its own
    np.savez(tmp_path / "flax.npz", **{"params/cell/h/kernel": np.ones((2, 2))})  # type: ignore[arg-type]
    np.savez(tmp_path / "other.npz", weights=np.ones(2))
    (tmp_path / "orbax").mkdir()
    (tmp_path / "orbax" / "manifest.ocdbt").touch()
    with pytest.raises(UnsupportedError, match="as Flax models are kept"):
        form_of(tmp_path / "flax.npz")
    with pytest.raises(UnsupportedError, match="is an Orbax checkpoint"):
        form_of(tmp_path / "orbax")
    with pytest.raises(FileError, match="without the arrays x and y"):
        form_of(tmp_path / "other.npz")
