"""A conversion as it is read in a terminal: what was written, where every tensor went, and the verdict."""

from __future__ import annotations

from dataclasses import replace

from comparisons import DIFFERENT, EQUIVALENT

from rnnverify.comparison import Fixed
from rnnverify.conversion import Conversion
from rnnverify.inspection import TensorLine
from rnnverify.reports.terminal import render, render_conversion

KEPT = Conversion(
    source="model.h5",
    target="model.pt#lower+upper",
    files=("model.pt",),
    form="PyTorch state_dict",
    written_by="torch 2.13.0, torch.save",
    shape="1 layer, 5 -> 8, tanh",
    part="lower+upper",
    tensors=(TensorLine("weight_[b]_l0", (8, 5), "float32", "layer 0 kernel (transposed)", ""),),
    not_converted=("Dense 'head'",),
    notes=("the one bias is bias_ih, and bias_hh is zeros",),
    comparison=EQUIVALENT,
)


def test_what_was_kept() -> None:
    text = render_conversion(KEPT, width=100)
    lines = text.splitlines()
    assert lines[0] == "model.h5  to  model.pt#lower+upper"
    assert lines[1] == "  network        1 layer, 5 -> 8, tanh"
    assert "  file           model.pt" in lines and "  not converted  Dense 'head'" in lines
    assert " weight_[b]_l0    8 x 5   float32   layer 0 kernel (transposed)" in lines
    assert lines[-1].startswith("B-A  EQUIVALENT") and "nothing was left" not in text


def test_what_was_not_kept_comes_with_the_whole_comparison() -> None:
    text = render_conversion(replace(KEPT, files=(), comparison=DIFFERENT), width=100)
    assert "nothing was left there: what was written is DIFFERENT" in text
    assert text.endswith(render(DIFFERENT, width=100))
    assert "  file " not in text.partition("nothing was left")[0]


def test_code_is_printed_as_it_is() -> None:
    code = "x = 1  # " + "long " * 60 + "\n"
    text = render_conversion(replace(KEPT, code=code), width=60)
    assert text.endswith("\n\n" + code)
    assert max(len(line) for line in text.removesuffix(code).splitlines()) <= 60


def test_what_was_fixed() -> None:
    written = replace(
        DIFFERENT, fixed=Fixed("the network of A as Keras model: IDENTICAL to A", "fixed.keras", "IDENTICAL")
    )
    assert render(written, width=100).endswith(
        "\nFixed  fixed.keras: the network of A as Keras model: IDENTICAL to A\n"
    )
    refused = replace(DIFFERENT, fixed=Fixed("nothing was written: it is too large"))
    assert render(refused, width=100).endswith("\nFixed  nothing was written: it is too large\n")
