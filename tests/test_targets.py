"""Where a converted network goes: forms by suffix, and what is never replaced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rnnverify.cli.options import To
from rnnverify.containers import open_model
from rnnverify.errors import OptionError, OutputError, UnsupportedError
from rnnverify.targets import FORMS, check_place, files_of, form_for, form_like


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("model.pt", "pt"),
        ("model.pth", "pt"),
        ("model.safetensors", "safetensors"),
        ("model.npz", "npz"),
        ("model.h5", "h5"),
        ("model.hdf5", "h5"),
        ("model.weights.h5", "weights.h5"),
        ("model.keras", "keras"),
        ("model.msgpack", "flax"),
        ("model.flax.npz", "flax.npz"),
        ("model.flax.safetensors", "flax.safetensors"),
        ("model.nnx.msgpack", "nnx"),
        ("model.nnx.npz", "nnx.npz"),
        ("model.nnx.safetensors", "nnx.safetensors"),
        ("model.eqx", "equinox"),
        ("model.onnx", "onnx"),
        ("model.ckpt", "ckpt"),
    ],
)
def test_the_suffix_names_the_form(name: str, form: str) -> None:
    assert form_for(Path(name), None) == FORMS[form]


def test_to_says_more_than_a_suffix_and_an_unknown_one_is_refused() -> None:
    assert form_for(Path("model.pt"), "keras") == FORMS["keras"]
    with pytest.raises(OptionError, match=r"model.tflite: its suffix names no form; say which with --to, one of pt, "):
        form_for(Path("model.tflite"), None)
    with pytest.raises(OptionError, match="--to tflite: known are pt"):
        form_for(Path("model.pt"), "tflite")


def test_the_command_line_offers_every_form() -> None:
    assert {to.value for to in To} == set(FORMS)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("simple_rnn.h5", "h5"),
        ("simple_rnn.weights.h5", "weights.h5"),
        ("simple_rnn.keras", "keras"),
        ("rnn.pt", "pt"),
        ("rnn_legacy.pt", "pt"),
        ("rnn.safetensors", "safetensors"),
        ("genuine/onnx-from-torch-2.13.0/rnn_a_onnx/model.onnx", "onnx"),
        ("basic_rnn_cell.ckpt", "ckpt"),
    ],
)
def test_a_file_is_replaced_by_one_of_its_own_form(fixtures: Path, name: str, form: str) -> None:
    contents = open_model(fixtures / name)
    assert form_like(contents) == FORMS[form]
    assert form_like(replace(contents, form="npz", framework=None)) == FORMS["npz"]


@pytest.mark.parametrize(
    ("name", "cell", "form"),
    [
        ("simple_cell.msgpack", "linen.SimpleCell", "flax"),
        ("gru_nnx.msgpack", "nnx.GRUCell", "nnx"),
        ("stacked_nnx.npz", "nnx.SimpleCell", "nnx.npz"),
        ("genuine/flax-0.12.8/lstm_bi_npz/params.npz", "linen.OptimizedLSTMCell", "flax.npz"),
        ("gru.eqx", "", "equinox"),
    ],
)
def test_a_file_of_jax_is_replaced_by_one_of_its_own_cells(fixtures: Path, name: str, cell: str, form: str) -> None:
    assert form_like(open_model(fixtures / name), {cell}) == FORMS[form]


@pytest.mark.parametrize(
    ("name", "cell", "words"),
    [
        ("bidirectional_nnx", "nnx.SimpleCell", "an Orbax checkpoint"),
        ("optimized_lstm_nnx.msgpack", "nnx.OptimizedLSTMCell", "a file of nnx.OptimizedLSTMCell"),
    ],
)
def test_a_file_that_no_one_writes_is_not_replaced_by_another(fixtures: Path, name: str, cell: str, words: str) -> None:
    with pytest.raises(UnsupportedError, match=f"is {words}, which this version reads and does not write; convert to"):
        form_like(open_model(fixtures / name), {cell})


def test_a_checkpoint_is_several_files_and_its_index_comes_last() -> None:
    names = [path.name for path in files_of(Path("a/model.ckpt"), FORMS["ckpt"])]
    assert names == ["model.ckpt.data-00000-of-00001", "model.ckpt.meta", "model.ckpt.index"]
    assert files_of(Path("model.pt"), FORMS["pt"]) == [Path("model.pt")]


def test_what_is_there_is_replaced_by_force_only(tmp_path: Path) -> None:
    target = tmp_path / "out.pt"
    assert check_place(target, FORMS["pt"], {}, False) == target
    target.write_bytes(b"before")
    with pytest.raises(OutputError, match=r"out.pt: out.pt is there already; choose another place, or .* --force"):
        check_place(target, FORMS["pt"], {}, False)
    with pytest.raises(OutputError, match=r"is there already; choose another place$"):
        check_place(target, FORMS["pt"], {}, None)
    assert check_place(target, FORMS["pt"], {}, True) == target
    (tmp_path / "out.ckpt.meta").touch()
    with pytest.raises(OutputError, match=r"out.ckpt: out.ckpt.meta is there already"):
        check_place(tmp_path / "out.ckpt", FORMS["ckpt"], {}, False)


def test_a_source_is_never_replaced_under_whatever_name(tmp_path: Path) -> None:
    source, link, hard = tmp_path / "model.pt", tmp_path / "link.pt", tmp_path / "hard.pt"
    source.write_bytes(b"model")
    link.symlink_to(source)
    hard.hardlink_to(source)
    for target in (source, link, hard, tmp_path / "." / "model.pt"):
        with pytest.raises(OutputError, match="is the source, which is never replaced; choose another place"):
            check_place(target, FORMS["pt"], {"the source": source}, True)
    prefix = tmp_path / "model.ckpt"
    (tmp_path / "model.ckpt.index").touch()
    for target, form in ((prefix, "ckpt"), (prefix, "pt"), (tmp_path / "model.ckpt.index", "pt")):
        with pytest.raises(OutputError, match="which is never replaced"):
            check_place(target, FORMS[form], {"the source": prefix}, True)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"no/out.pt: its folder does not exist; make it first"):
        check_place(tmp_path / "no" / "out.pt", FORMS["pt"], {}, False)
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(OutputError, match=r"folder.pt is no plain file; choose another place"):
        check_place(tmp_path / "folder.pt", FORMS["pt"], {}, True)
    (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
    for target in (tmp_path / "loop.pt", tmp_path / "nul\0.pt", tmp_path / ("x" * 300 + ".pt"), Path("/")):
        with pytest.raises(OutputError) as problem:
            check_place(target, FORMS["pt"], {}, True)
        assert "\n" not in str(problem.value) and "choose another place" in str(problem.value)


def test_a_folder_as_a_source_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for source in (Path(), Path("/"), tmp_path):
        assert check_place(Path("out.pt"), FORMS["pt"], {"the source": source}, False) == tmp_path / "out.pt"
