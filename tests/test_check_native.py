"""Many files in one runner process: each is run with its own weights, whatever was made for those before it."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import pytest

from rnnverify.check import check
from rnnverify.config import read_config

CONFIG = """
[defaults]
steps = 8
[[compare]]
name = "first"
sides = ["a.h5", "rnn.pt"]
[[compare]]
name = "other weights"
sides = ["b.h5", "rnn.pt"]
[[compare]]
name = "again"
sides = ["c.h5", "rnn.pt"]
[[compare]]
name = "other weights, both"
sides = ["b.h5", "d.h5"]
"""


def test_files_of_one_structure_do_not_share_weights(tmp_path: Path, fixtures: Path) -> None:
    pytest.importorskip("keras", reason="it is an extra")
    pytest.importorskip("torch", reason="it is an extra")
    for name in "abcd":
        shutil.copy(fixtures / "simple_rnn.h5", tmp_path / f"{name}.h5")
    for name in "bd":
        with h5py.File(tmp_path / f"{name}.h5", "r+") as file:
            found: list[h5py.Dataset] = []
            file["model_weights"].visititems(
                lambda key, item, found=found: found.append(item) if "bias" in key else None
            )
            for dataset in found:
                dataset[...] = dataset[...] + 0.25
            assert len(found) == 1
    shutil.copy(fixtures / "rnn.pt", tmp_path)
    (tmp_path / "rnnverify.toml").write_text(CONFIG)
    outcomes = check(read_config(tmp_path / "rnnverify.toml")).outcomes
    results = [outcome.result for outcome in outcomes if outcome.result]
    assert [outcome.error for outcome in outcomes] == [""] * 4
    passing = ("IDENTICAL", "EQUIVALENT")
    assert [result.verdict in passing for result in results] == [True, False, True, True]
    assert results[1].pairs[0].implementation_baseline is not None
    assert results[1].pairs[0].implementation_baseline < 1e-5 < results[1].pairs[0].headline.deviation.max_abs
    assert all("load_model" in result.sides[0].how for result in results)
