"""What a file says of its recurrent layers beyond their weights: a module or a graph states tanh or relu, and more.

`metadata["modules"]` maps the prefix of a layer (`rnn.`) to what it states of itself, under the names of nn.RNN's own
attributes (torch/nn/modules/rnn.py, 1.0.0 to 2.13.0): `mode` RNN_TANH, RNN_RELU, GRU or LSTM, for a cell of nn.RNNCell
`nonlinearity`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from rnnverify.adapters.torch.gates import ORDERS
from rnnverify.adapters.torch.parts import Part
from rnnverify.adapters.torch.weights import Weights
from rnnverify.canonical import CellKind
from rnnverify.containers.contents import Contents
from rnnverify.errors import FileError, printable

Facts = Mapping[str, object]

_MODES: dict[str, CellKind] = {"RNN_TANH": "rnn", "RNN_RELU": "rnn", "GRU": "gru", "LSTM": "lstm"}
_CLASSES: dict[str, CellKind] = {
    f"torch.nn.modules.rnn.{kind.upper()}{end}": kind for kind in ORDERS for end in ("", "Cell")
}


def facts_of(contents: Contents, part: Part) -> Facts:
    """What the file states of `part`; empty where it holds weights alone."""
    modules = contents.metadata.get("modules")
    found = modules.get(part.prefix) if isinstance(modules, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def activation_of(kind: CellKind, facts: Facts) -> str | None:
    """`tanh` or `relu`, where the file states it: an nn.GRU and an nn.LSTM have but one."""
    if kind != "rnn":
        return "tanh"
    stated = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}.get(str(facts.get("mode")), facts.get("nonlinearity"))
    return str(stated) if stated in ("tanh", "relu") else None


def check(path: Path, part: Part, weights: Weights, facts: Facts) -> None:
    """FileError where what a layer states of itself contradicts its weights."""
    held = {
        "input_size": weights.input_size,
        "hidden_size": weights.hidden_size,
        "num_layers": weights.layers,
        "bidirectional": weights.bidirectional,
        "bias": weights.bias,
        "proj_size": weights.state_size if part.projected else 0,
    }
    shown = printable(part.name, 80) or "the layer"
    for name, value in held.items():
        if name in facts and facts[name] != value:
            found = f"{shown} states {name} {printable(facts[name], 40)}, but its weights have {value}"
            raise FileError(path, found, "the file contradicts itself: save the model again")
    for name, kinds in (("mode", _MODES), ("class", _CLASSES)):
        stated = facts.get(name)
        kind = kinds.get(str(stated), weights.kind if name == "class" else None)
        if stated is not None and kind != weights.kind:
            found = (
                f"{shown} states the {name} {printable(stated, 40)}, but its weights are those of an nn.{part.module}"
            )
            raise FileError(path, found, "the file contradicts itself: save the model again")


def assumptions(parts: list[tuple[Part, Facts]]) -> Iterator[str]:
    """What the code of the file would say, which is not read."""
    for part, facts in parts:
        shown = printable(part.name, 80) or "the layer"
        named = facts.get("class")
        if named and named not in _CLASSES and (part.kind != "rnn" or activation_of(part.kind, facts)):
            yield f"{shown} computes what nn.{part.module} does: its class {printable(named, 80)} is not in the file"
    if len(parts) > 1 and any(facts for _, facts in parts):
        order = ", then ".join(printable(part.name, 80) for part, _ in parts)
        yield f"{order}: each reads the outputs of the one before, as selected; the file's own code is not read"


def notes(parts: list[tuple[Part, Facts]]) -> Iterator[str]:
    for part, facts in parts:
        shown = f"{printable(part.name, 80)} " if part.name else ""
        if facts.get("batch_first") is False:
            yield f"{shown}was made with batch_first=False: its own calls take (T, B, I); all sides read the same here"
        if facts.get("dropout"):
            yield f"{shown}has dropout {printable(facts['dropout'], 20)} between layers, off as in eval mode"
