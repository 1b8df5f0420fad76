"""What a `*` in the sides of a comparison stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnverify.errors import OptionError
from rnnverify.globs import expand


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("keras/a.h5", "keras/b.h5", "torch/a.pt", "torch/c.pt", "tf/a.ckpt.index"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_star_is_one_comparison(folder: Path) -> None:
    assert expand("n", ["x.h5", "y.pt#a"], Path()) == [("n", ("x.h5", "y.pt#a"))]
    assert expand("n", ["keras:x.h5", "y.pt#a"], folder) == [("n", (f"keras:{folder}/x.h5", f"{folder}/y.pt#a"))]


def test_a_name_that_one_side_lacks_is_a_comparison_too(folder: Path) -> None:  # noqa: ARG001 - its files
    found = expand("pair-*", ["keras/*.h5", "torch:torch/*.pt#rnn"], Path())
    assert found == [(f"pair-{k}", (f"keras/{k}.h5", f"torch:torch/{k}.pt#rnn")) for k in "abc"]


def test_a_checkpoint_is_told_by_its_index_and_a_fixed_side_stays(folder: Path) -> None:  # noqa: ARG001 - as above
    assert expand("n", ["tf/*.ckpt", "one.pt"], Path()) == [("n/a", ("tf/a.ckpt", "one.pt"))]


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        (["none/*.h5", "torch/x.pt"], "no file fits none/"),
        (["*/*.h5", "torch/*.pt"], "differ in how many"),
        (["**/a.h5", "torch/a.pt"], "is not known"),
    ],
)
def test_what_is_refused(folder: Path, sides: list[str], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        expand("n", sides, folder)
