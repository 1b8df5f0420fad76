"""Facts that the source text inside a TorchScript file states about its recurrent layers. Read as text, never run.

A layer that was scripted keeps constants, `mode : Final[str] = "RNN_RELU"`; one that was traced keeps the call that it
makes, `torch.rnn_relu(x, hx, [weights], has_biases, num_layers, dropout, train, bidirectional, batch_first)`
(torch/csrc/jit/serialization/python_print.cpp, 1.0.0 to 2.13.0; arguments: aten/src/ATen/native/native_functions.yaml).
What is not written in exactly these ways stays unsaid, and is an assumption then.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator

from rnnverify.containers.torch_modules import STATED, Facts

_CLASS = re.compile(r"^class (\w+)\(Module\):$", re.MULTILINE)
_FUNCTION = re.compile(r"^ *def \w+\(", re.MULTILINE)
_CONSTANT = re.compile(r"^  (\w+) : Final\[\w+\] = (.{1,200})$", re.MULTILINE)
_NAMED = re.compile(r"^ +(\w+) = (\w+(?:\.\w+)+|\[[^\[\]\n]*\])$", re.MULTILINE)
_LAYER = re.compile(
    r"torch\.(rnn_tanh|rnn_relu|gru|lstm)\(\w+, (?:\w+|\[[^\[\]\n]*\]), ([\w.]+|\[[^\[\]\n]*\]), "
    r"(True|False), (\d{1,6}), ([\d.e+-]{1,20}), \w+, (True|False), (True|False)\)"
)
_CELL = re.compile(r"torch\.(rnn_tanh|rnn_relu|gru|lstm)_cell\(\w+, (?:\w+|\[[^\[\]\n]*\]), ([\w.]+),")
MODES = {"rnn_tanh": "RNN_TANH", "rnn_relu": "RNN_RELU", "gru": "GRU", "lstm": "LSTM"}
"""aten's name of a layer to the `mode` that its module has."""


def class_text(text: str, name: str) -> str:
    """The source of the class `name` in `text`; empty where it is not there."""
    starts = [match.start() for match in _CLASS.finditer(text)] + [len(text)]
    for match, end in zip(_CLASS.finditer(text), starts[1:], strict=True):
        if match[1] == name:
            return text[match.start() : end]
    return ""


def constants(text: str) -> Facts:
    """What a class states of itself in constants."""
    found: Facts = {}
    for match in _CONSTANT.finditer(text):
        if match[1] in STATED:
            try:
                value = ast.literal_eval(match[2])
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            if isinstance(value, (str, int, float)):
                found[match[1]] = value
    return found


def calls(text: str) -> dict[str, Facts]:
    """What each recurrent layer that `text` calls is called with, by the layer's prefix as seen from the module whose
    text it is: "" for itself, `rnn.`. A layer that is called in several ways is left out."""
    found: dict[str, list[Facts]] = {}
    for prefix, stated in _calls(text):
        found.setdefault(prefix, []).append(stated)
    return {prefix: all_[0] for prefix, all_ in found.items() if all(stated == all_[0] for stated in all_)}


def _calls(text: str) -> Iterator[tuple[str, Facts]]:
    starts = [match.start() for match in _FUNCTION.finditer(text)] + [len(text)]
    for start, end in itertools.pairwise(starts):
        function = text[start:end]
        names = {match[1]: match[2] for match in _NAMED.finditer(function)}
        for match in _LAYER.finditer(function):
            prefix = _owner(match[2], names)
            if prefix is not None:
                yield (
                    prefix,
                    {
                        "mode": MODES[match[1]],
                        "bias": match[3] == "True",
                        "num_layers": int(match[4]),
                        "dropout": float(match[5]),
                        "bidirectional": match[6] == "True",
                        "batch_first": match[7] == "True",
                    },
                )
        for match in _CELL.finditer(function):
            prefix = _owner(match[2], names)
            if prefix is not None:
                yield prefix, cell_facts(match[1])


def cell_facts(called: str) -> Facts:
    """What the call of a cell states of it: `rnn_tanh`, `rnn_relu`, `gru` or `lstm`."""
    nonlinearity = called.removeprefix("rnn_")
    return {"mode": MODES[called]} if nonlinearity == called else {"nonlinearity": nonlinearity}


def _owner(weights: str, names: dict[str, str]) -> str | None:
    """The prefix of the module whose attribute `weights` (or the first of a list) is, None where that is unclear."""
    for _ in range(16):  # a name may stand for a name
        first = weights.strip("[] ").partition(",")[0].strip()
        head, dot, rest = first.partition(".")
        if head == "self" and dot:
            return rest.rpartition(".")[0] + "." * ("." in rest)
        if head not in names:
            return None
        weights = names[head] + dot + rest
    return None


def traced_cell(text: str) -> Facts:
    """What the text of nn.RNNCell itself computes, where it was traced: one of torch.tanh and torch.relu."""
    used = set(re.findall(r"torch\.(tanh|relu)_?\(", text))
    return {"nonlinearity": used.pop()} if len(used) == 1 else {}
