"""A Keras model's configuration: which layers there are, nested models opened, and which feeds which.

Sources: `get_config` of Sequential and Model in keras/models.py and keras/engine/topology.py (1.0-2.1),
keras/engine/{sequential,network,functional}.py (2.2-2.15), keras/src/models/{sequential,functional}.py (3).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rnnverify.adapters.keras.cells import Config
from rnnverify.adapters.keras.layers import RECURRENT, built_in
from rnnverify.errors import FileError, printable

_MODELS = {"Sequential", "Functional", "Model"}
# these hand a sequence on as it is, outside training; a Masking layer is noted where it is met
_PASS_THROUGH = {"InputLayer", "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout"}
_PASS_THROUGH |= {"ActivityRegularization", "Masking", "Identity"}

Address = tuple[str, ...]


@dataclass(frozen=True)
class Placed:
    """A layer of the model, wherever it is nested."""

    path: Address  # names of the models around it, then its own
    class_name: str
    config: Config
    own_class: bool  # of Keras itself
    group: str  # where Keras 3 stores its weights: layers/<class>[_n], one such pair for every model around it
    feeds: tuple[tuple[Address, int], ...]  # for each call: the layer and which of its outputs it reads
    states: bool = False  # is handed an initial state

    @property
    def title(self) -> str:
        return f"{printable(self.class_name)} {printable(self.path[-1])!r}"

    @property
    def recurrent(self) -> bool:
        return self.own_class and self.class_name in RECURRENT

    @property
    def passes_through(self) -> bool:
        linear = self.class_name == "Activation" and self.config.get("activation") == "linear"
        return self.own_class and (linear or self.class_name in _PASS_THROUGH)


def layers_of(path: Path, model: Mapping[str, object]) -> tuple[Placed, ...]:
    """Every layer of a serialised model, in the order in which it lists them. Raises `FileError` for nonsense."""
    found: list[Placed] = []
    _open_model(path, model, (), "", None, found)
    return tuple(found)


def _open_model(
    path: Path, model: Config, outer: Address, group: str, entry: Address | None, found: list[Placed]
) -> Address | None:
    """Adds the layers of `model`; `entry` is the layer that feeds it. Returns the address of its output."""
    stored = model.get("config")
    listed = stored.get("layers") if isinstance(stored, dict) else stored  # Keras 1.0-2.1: Sequential is a list
    if not isinstance(listed, list) or not all(isinstance(layer, dict) for layer in listed):
        raise FileError(path, f"the configuration of {_title(model)} lists no layers", "save the model again")
    sequential = model.get("class_name") == "Sequential"
    counts: Counter[str] = Counter()
    ends: dict[str, Address | None] = {}
    last = entry
    for layer in listed:
        config = layer.get("config")
        name = layer.get("name") or (config.get("name") if isinstance(config, dict) else None)
        class_name = layer.get("class_name")
        if not isinstance(class_name, str):
            raise FileError(path, f"a layer of {_title(model)} has no class_name", "save the model again")
        snake = snake_case(class_name)
        here = f"{group}layers/{snake}" + (f"_{counts[snake]}" if counts[snake] else "")
        counts[snake] += 1
        # a nested Sequential of Keras 1.0-2.1 has no name of its own
        address = (*outer, name if isinstance(name, str) else here.rpartition("/")[2])
        calls, states = ([(last, 0)] if last else [], False) if sequential else _calls(layer, ends)
        if class_name in _MODELS and built_in(layer):
            single = len(calls) == 1 and calls[0][1] == 0 and not states
            last = _open_model(path, layer, address, f"{here}/", calls[0][0] if single else None, found)
        else:
            if class_name == "InputLayer" and entry and not calls:
                calls = [(entry, 0)]
            own = built_in(layer)
            settings = config if isinstance(config, dict) else {}
            found.append(Placed(address, class_name, settings, own, here, tuple(calls), states))
            last = address
        ends[address[-1]] = last
    return last if sequential else _output(stored, ends)


def _calls(layer: Config, ends: dict[str, Address | None]) -> tuple[list[tuple[Address, int]], bool]:
    """What each call of a functional layer reads first, and whether a call reads more, such as an initial state."""
    nodes = layer.get("inbound_nodes")
    calls, states = [], False
    for node in nodes if isinstance(nodes, list) else []:
        tensors = list(_tensors(node))
        states = states or len(tensors) > 1
        source = ends.get(tensors[0][0]) if tensors else None
        if source:
            calls.append((source, tensors[0][1]))
    return calls, states


def _tensors(node: object) -> Iterator[tuple[str, int]]:
    """(layer, output) of every tensor in an inbound node, those of arguments before those of keywords."""
    if isinstance(node, list):
        if len(node) >= 3 and isinstance(node[0], str) and type(node[1]) is int and type(node[2]) is int:
            yield node[0], node[2]
            node = node[3:]
        for item in node:
            yield from _tensors(item)
    elif isinstance(node, dict):
        inner = node.get("config")
        if node.get("class_name") == "__keras_tensor__" and isinstance(inner, dict):
            node = {"history": inner.get("keras_history")}
        for item in (value for key, value in node.items() if key != "mask"):
            yield from _tensors(item)


def _output(stored: object, ends: dict[str, Address | None]) -> Address | None:
    """The one output of a functional model. A model of several outputs is not followed further."""
    outputs = stored.get("output_layers") if isinstance(stored, dict) else None
    tensors = list(_tensors(outputs))
    return ends.get(tensors[0][0]) if len(tensors) == 1 and tensors[0][1] == 0 else None


def snake_case(class_name: str) -> str:
    """`SimpleRNN` to `simple_rnn`, as `to_snake_case` in keras/src/utils/naming.py (3.0) does."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _title(model: Config) -> str:
    return f"the model of class {printable(model.get('class_name'))}"
