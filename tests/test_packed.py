"""Arrays come back as they went, small ones from one file, large ones from one each; a runner reads the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rnnverify import packed
from rnnverify.canonical import Array
from rnnverify.packed import Pack, Unpack

DTYPES = st.sampled_from([np.dtype(name) for name in ("f2", "<f4", ">f4", "f8", "i8", "?")])


@given(st.lists(DTYPES.flatmap(lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0))), max_size=4))
def test_arrays_come_back_as_they_went(tmp_path_factory: pytest.TempPathFactory, given: list[Array]) -> None:
    pack = Pack(tmp_path_factory.mktemp("pack"))
    references = [pack.add(array) for array in (*given, *(array.T for array in given))]
    pack.flush()
    files = Unpack()
    for array, reference in zip((*given, *(array.T for array in given)), references, strict=True):
        found = files.load(reference)
        assert (found.shape, found.dtype) == (array.shape, array.dtype) and not found.flags.writeable
        np.testing.assert_array_equal(found, array)
    pack.close()


def test_large_arrays_are_mapped_and_none_is_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "SMALL", 16)
    pack = Pack(tmp_path)
    small, large = np.arange(4.0, dtype="f4"), np.arange(5.0, dtype="f4")
    references = [pack.add(array) for array in (small, large, small, large)]
    pack.close()
    assert references[:2] == references[2:] and len(list(tmp_path.iterdir())) == 2
    assert isinstance(Unpack().load(references[1]), np.memmap)
    assert not isinstance(Unpack().load(references[0]), np.memmap)
    np.testing.assert_array_equal(Unpack().load(references[1]), large)


def test_what_is_cut_off_is_not_read_as_less(tmp_path: Path) -> None:
    pack = Pack(tmp_path)
    reference = pack.add(np.arange(4.0))
    pack.close()
    (tmp_path / "small").write_bytes(b"\0" * 31)
    with pytest.raises(ValueError, match="buffer"):
        Unpack().load(reference)


def test_a_runner_speaks_the_same(tmp_path: Path) -> None:
    """The two ends are written twice, as a runner imports nothing of the package: each reads what the other wrote."""
    pack = Pack(tmp_path)
    reference = pack.add(np.arange(6, dtype="<f4").reshape(2, 3))
    pack.close()
    code = """if True:
        import json, sys
        import numpy as np
        import exchange
        array = exchange.load_array(json.loads(sys.argv[1]))
        exchange.SMALL = 32
        pack = exchange.Pack(sys.argv[2])
        found = [pack.add("small", array + 1), pack.add("large", np.float64(array)), pack.add("empty", array[:0])]
        pack.write()
        print(json.dumps(found))
    """
    runners = Path(packed.__file__).parent / "runners"
    command = [sys.executable, "-c", code, json.dumps(reference), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(runners)}, check=True)
    small, large, empty = (Unpack().load(each) for each in json.loads(done.stdout))
    np.testing.assert_array_equal(small, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(large, [[0, 1, 2], [3, 4, 5]])
    assert (small.dtype.name, large.dtype.name, empty.shape) == ("float32", "float64", (0, 3))
    assert isinstance(large, np.memmap) and not isinstance(small, np.memmap)
