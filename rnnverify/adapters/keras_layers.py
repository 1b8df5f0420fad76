"""Keras recurrent layers: what their configuration says, and what of it is not compared, refused by name.

Sources: `get_config` in keras/layers/recurrent.py (1.0-2.3), keras/layers/rnn (2.4-2.15), keras/src/layers/rnn (3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rnnverify.activations import ACTIVATIONS, ALIASES
from rnnverify.errors import FileError, UnsupportedError, printable

Config = Mapping[str, object]

GATED = {"GRU", "LSTM", "CuDNNGRU", "CuDNNLSTM", "GRUCell", "LSTMCell"}
RECURRENT = {"SimpleRNN", "RNN", "Bidirectional"}


@dataclass(frozen=True)
class Cell:
    """One vanilla cell of a layer."""

    units: int
    use_bias: bool
    activation: str  # canonical
    stated: bool = True  # False: the file does not say, and the activation is Keras's default


@dataclass(frozen=True)
class KerasLayer:
    """One recurrent Keras layer. `tensors` names its weights: [forward, backward][cell][kernel, recurrent, bias]."""

    path: tuple[str, ...]  # names of the sub-models around it, then its own
    kind: str  # "SimpleRNN", or "RNN" for cells given by the user; inside Bidirectional, that of its two halves
    cells: tuple[Cell, ...]
    go_backwards: bool = False
    merge_mode: str | None = None  # None: one direction
    return_sequences: bool = True
    stacked: bool = False  # its cells are in a StackedRNNCells
    apart: bool = False  # two directions that are handed on as two outputs; merge_mode is concat then
    time_major: bool = False  # takes and gives (T, B, ...)
    tensors: tuple[tuple[tuple[str, ...], ...], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path[-1]


_LAYER_KEYS = {"name", "trainable", "dtype", "batch_input_shape", "batch_size", "input_shape", "input_dtype"}
_LAYER_KEYS |= {"batch_shape", "input_dim", "input_length", "activity_regularizer", "sparse", "ragged"}
_RNN_KEYS = _LAYER_KEYS | {"return_sequences", "return_state", "go_backwards", "stateful", "unroll", "time_major"}
# use_cudnn, implementation and consume_less choose how to compute, not what; padding is not compared
_RNN_KEYS |= {"zero_output_for_mask", "use_cudnn", "implementation", "consume_less", "seed"}
# initial values, penalties and dropout act in training only
_CELL_KEYS = {"name", "trainable", "dtype", "units", "output_dim", "activation", "use_bias", "implementation", "seed"}
_CELL_KEYS |= {"kernel_initializer", "recurrent_initializer", "bias_initializer", "init", "inner_init"}
_CELL_KEYS |= {"kernel_regularizer", "recurrent_regularizer", "bias_regularizer"}
_CELL_KEYS |= {"W_regularizer", "U_regularizer", "b_regularizer"}
_CELL_KEYS |= {"kernel_constraint", "recurrent_constraint", "bias_constraint"}
_CELL_KEYS |= {"dropout", "recurrent_dropout", "dropout_W", "dropout_U"}
_BIDIRECTIONAL_KEYS = _LAYER_KEYS | {"merge_mode", "layer", "backward_layer"}
_POLICIES = {"float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"}


@dataclass(frozen=True)
class LayerReader:
    """Reads the layers of one file. `version` is the Keras major version, 0 where the file does not state it."""

    path: Path
    version: int

    def read(self, placed: tuple[str, ...], class_name: str, config: Config) -> KerasLayer:
        """The layer at `placed`. Raises `UnsupportedError` for what is not compared, `FileError` for nonsense."""
        where = f"{class_name} {printable(placed[-1])!r}"
        if class_name == "Bidirectional":
            return self._bidirectional(placed, where, config)
        self._only(config, _RNN_KEYS | ({"cell"} if class_name == "RNN" else _CELL_KEYS), where)
        cells, stacked = [config], False
        if class_name == "RNN":
            cells, stacked = self._cells(config.get("cell"), where)
        notes = _policy_notes(self._policy(config, where), where)
        if config.get("stateful"):
            notes += (f"{where} is stateful; every sequence is compared from a zero state",)
        if config.get("time_major"):
            notes += (f"{where} takes time first (time_major=True); inputs and states are compared batch first",)
        return KerasLayer(
            placed,
            class_name,
            tuple(self._cell(cell, where) for cell in cells),
            go_backwards=bool(config.get("go_backwards")),
            return_sequences=bool(config.get("return_sequences")),
            stacked=stacked,
            time_major=bool(config.get("time_major")),
            notes=notes,
        )

    def _bidirectional(self, placed: tuple[str, ...], where: str, config: Config) -> KerasLayer:
        self._only(config, _BIDIRECTIONAL_KEYS, where)
        self._policy(config, where)
        halves = []
        for key in ("layer", "backward_layer"):
            inner = config.get(key)
            if inner is None and key == "backward_layer":
                continue
            name, inner_config = self._object(inner, where)
            if name not in ("SimpleRNN", "RNN"):
                raise self._refused(f"{where} around {printable(name)}", "only SimpleRNN and RNN are compared yet")
            halves.append(self.read(placed, name, inner_config))
        forward = halves[0]
        merge = config.get("merge_mode", "concat")
        notes = forward.notes
        if merge is None:
            notes += (
                f"{where} hands its directions on as two outputs (merge_mode None); they are compared side by side",
            )
        elif merge not in ("concat", "sum", "mul", "ave"):
            raise self._refused(where, f"merge_mode {printable(merge)!r} is not compared yet")
        if forward.stacked:
            raise self._refused(where, "stacked cells in two directions are not compared yet")
        if forward.go_backwards:  # it would turn the time of both halves of its output
            raise self._refused(where, "a go_backwards layer inside is not compared yet")
        if halves[1:] and (halves[1].cells != forward.cells or not halves[1].go_backwards):
            raise self._refused(where, "a backward_layer unlike the forward one is not compared yet")
        return replace(forward, go_backwards=False, merge_mode=str(merge or "concat"), apart=merge is None, notes=notes)

    def _cells(self, cell: object, where: str) -> tuple[list[Config], bool]:
        """The configurations of vanilla cells in RNN(cell), and whether they are stacked."""
        found = cell if isinstance(cell, list) else [cell]
        stacked = isinstance(cell, list)
        name, config = self._object(found[0] if found else None, where)
        if name == "StackedRNNCells":
            self._only(config, {"name", "trainable", "dtype", "cells"}, where)
            inner = config.get("cells")
            found, stacked = inner if isinstance(inner, list) else [], True
        configs = []
        for each in found:
            name, config = self._object(each, where)
            if name != "SimpleRNNCell":
                raise self._refused(f"{where} of {printable(name)}", "only SimpleRNNCell is compared yet")
            self._only(config, _CELL_KEYS, where)
            configs.append(config)
        if not configs:
            raise FileError(self.path, f"{where} has no cells", "save the model again")
        return configs, stacked

    def _cell(self, config: Config, where: str) -> Cell:
        if not set(config) & {"units", "output_dim", "activation", "use_bias"}:
            # Keras 2.0.9 writes no configuration of cells: the weights will tell
            return Cell(0, True, "tanh", stated=False)
        units = config.get("units", config.get("output_dim"))
        if not isinstance(units, int) or isinstance(units, bool) or units < 1:
            raise FileError(self.path, f"{where} has units {printable(units)}, wanted 1 or more", "save it again")
        return Cell(units, bool(config.get("use_bias", True)), self._activation(config.get("activation"), where))

    def _activation(self, stored: object, where: str) -> str:
        name = stored
        if isinstance(stored, dict) and stored.get("class_name") == "function":
            own = stored.get("module") in (None, "builtins", "keras.activations", "keras.src.activations.activations")
            named = stored.get("registered_name") in (None, "function", stored.get("config"))
            name = stored.get("config") if own and named else stored.get("registered_name")
        elif isinstance(stored, dict):
            name = stored.get("class_name")
        if stored is None:
            return "linear"
        if name == "hard_sigmoid" and self.version < 3:
            if self.version == 0:
                raise self._refused(where, "hard_sigmoid means one function before Keras 3 and another since")
            return "keras2_hard_sigmoid"
        known = ALIASES.get(name, name) if isinstance(name, str) else ""
        if known not in ACTIVATIONS or (isinstance(stored, dict) and stored.get("class_name") != "function"):
            raise self._refused(where, f"activation {printable(name)!r} is not one that is compared")
        return known

    def _policy(self, config: Config, where: str) -> str:
        stored = config.get("dtype") or "float32"
        if isinstance(stored, dict) and stored.get("class_name") in ("DTypePolicy", "Policy", "PolicyV1"):
            inner = stored.get("config")
            stored = inner.get("name") if isinstance(inner, dict) else None
        if not isinstance(stored, str) or stored not in _POLICIES:
            raise self._refused(where, f"dtype policy {printable(stored)!r} is not compared yet")
        return stored

    def _only(self, config: Config, known: set[str], where: str) -> None:
        for key, value in config.items():
            if key not in known and value not in (None, False):
                raise self._refused(where, f"the option {printable(key)}={printable(value, 60)} is not compared yet")

    def _object(self, stored: object, where: str) -> tuple[str, Config]:
        if not isinstance(stored, dict) or not isinstance(stored.get("config"), dict):
            raise FileError(self.path, f"{where} does not say what is inside", "save the model again")
        if not built_in(stored):
            name = stored.get("registered_name") or stored.get("class_name")
            raise self._refused(f"{where} around {printable(name)}", "only Keras's own classes are compared")
        return str(stored.get("class_name")), stored["config"]

    def _refused(self, where: str, why: str) -> UnsupportedError:
        return UnsupportedError(self.path, f"{where}: {why}", "compare another part, or a model without it")


def built_in(stored: Config) -> bool:
    """Whether a serialised object is of a class of Keras itself, as far as it says."""
    module = stored.get("module")
    own = module is None or (isinstance(module, str) and module.split(".")[0] in ("keras", "tf_keras"))
    return own and stored.get("registered_name") in (None, stored.get("class_name"))


def _policy_notes(policy: str, where: str) -> tuple[str, ...]:
    if not policy.startswith("mixed_"):
        return ()
    narrow = policy.removeprefix("mixed_")
    return (f"{where} has the policy {policy}: it computes in {narrow}, and is compared in the dtype of its weights",)
