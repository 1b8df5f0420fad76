"""Where the numbers of a network stand in its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from in_every_layout import arrays_of, opened
from onnx_files import node, recurrent, weights

from rnnverify.porting.origins import Origins, origins


def found(name: str, fixtures: Path) -> Origins:
    places = origins(opened(fixtures / name))
    assert places
    return places


@pytest.mark.parametrize(
    "name",
    [
        "rnn.pt",
        "mixed.pt#lstm+gru+rnn",
        "gru.eqx",
        "genuine/keras-1.2.2/lstm_bi_weights/weights.h5",
        "genuine/tf-0.12.1/rnn_a_partitioned/model.ckpt",
        "genuine/onnx-from-torch-1.6.0/gru_ra_onnx/model.onnx",
    ],
)
def test_every_number_is_the_one_at_its_place(name: str, fixtures: Path) -> None:
    side, places = opened(fixtures / name), found(name, fixtures)
    assert side.network and side.reading
    stored = arrays_of(side)
    assert set(places.names) >= set(side.reading.roles)
    for tensor, start, end in zip(places.names, places.starts, places.starts[1:], strict=False):
        assert np.array_equal(places.values[start:end], stored[tensor].ravel())
    for (_, _, direction), of in zip(side.network.directions(), places.directions, strict=True):
        for tensor, array in direction.tensors():
            assert np.array_equal(places.at(of[tensor]), np.where(of[tensor] == 0, 0, array)), tensor
            assert tensor.startswith("bias") or of[tensor].all()


def test_what_is_added_at_run_time_has_no_place(fixtures: Path) -> None:
    places = found("gates/lstm.ckpt", fixtures)
    for direction in places.directions:
        assert direction["bias_input"].all() and not direction["bias_recurrent"].any()


def test_tied_gates_share_their_places(fixtures: Path) -> None:
    (direction,) = found("gates/coupled.pb", fixtures).directions
    into, forget = direction["kernel"][:2]
    assert np.array_equal(into, -forget) and (forget > 0).all()


def test_what_is_computed_has_none(fixtures: Path) -> None:
    (direction,) = found("genuine/torch-2.13.0/rnn_a_parametrized/model.pt", fixtures).directions
    assert "recurrent_kernel" not in direction and direction["kernel"].all()


@pytest.mark.parametrize("dtype", [1, 10])  # float32, which places do not fit in, and float16, where they are infinite
def test_what_is_cast_has_none(dtype: int, tmp_path: Path) -> None:
    before = node("Cast", ["W"], ["W.cast"], to=dtype)
    (tmp_path / "m.onnx").write_bytes(recurrent(weights(), before, inputs=["X", "W.cast", "R", "B"]))
    (direction,) = found("m.onnx", tmp_path).directions
    assert "kernel" not in direction and "recurrent_kernel" in direction


def test_a_tensor_is_found_by_its_places(fixtures: Path) -> None:
    places = found("rnn.pt", fixtures)
    assert list(places.holders(places.directions[0]["kernel"])) == ["weight_ih_l0"]
    assert list(places.holders(np.zeros(3, np.int64))) == []


def test_a_trace_has_no_places(fixtures: Path) -> None:
    side = opened(fixtures / "rnn.pt")
    assert origins(side.__class__(side.source, None, None, None)) is None
