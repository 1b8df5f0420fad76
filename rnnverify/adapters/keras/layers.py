"""Keras recurrent layers: what their configuration says, and what of it is not compared, refused by name.

Sources: `get_config` in keras/layers/recurrent.py (1.0-2.3), keras/layers/rnn (2.4-2.15), keras/src/layers/rnn (3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rnnverify.adapters.keras.cells import CELLS, KIND_OF, OWN_KEYS, Cell, CellReader, Config
from rnnverify.errors import FileError, UnsupportedError, printable

OF_ONE_CELL = {name for name in KIND_OF if name not in CELLS}
RECURRENT = OF_ONE_CELL | {"RNN", "Bidirectional"}


@dataclass(frozen=True)
class KerasLayer:
    """One recurrent Keras layer. `tensors` names its weights: [forward, backward][cell][in set_weights order]."""

    path: tuple[str, ...]  # names of the sub-models around it, then its own
    kind: str  # its class, "RNN" for cells given by the user; inside Bidirectional, that of its two halves
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
_BIDIRECTIONAL_KEYS = _LAYER_KEYS | {"merge_mode", "layer", "backward_layer"}
_POLICIES = {"float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"}


@dataclass(frozen=True)
class LayerReader:
    """Reads the layers of one file. `version` is that of Keras, "0" where the file does not state it."""

    path: Path
    version: str

    def read(self, placed: tuple[str, ...], class_name: str, config: Config) -> KerasLayer:
        """The layer at `placed`. Raises `UnsupportedError` for what is not compared, `FileError` for nonsense."""
        where = f"{class_name} {printable(placed[-1])!r}"
        if class_name == "Bidirectional":
            return self._bidirectional(placed, where, config)
        self._only(config, _RNN_KEYS | ({"cell"} if class_name == "RNN" else OWN_KEYS[KIND_OF[class_name]]), where)
        cells, stacked = [(class_name, config)], False
        if class_name == "RNN":
            cells, stacked = self._cells(config.get("cell"), where)
        notes = _policy_notes(self._policy(config, where), where)
        if config.get("stateful"):
            notes += (f"{where} is stateful; every sequence is compared from a zero state",)
        if config.get("time_major"):
            notes += (f"{where} takes time first (time_major=True); inputs and states are compared batch first",)
        reader = CellReader(self.path, self.version)
        return KerasLayer(
            placed,
            class_name,
            tuple(reader.read(name, cell, where) for name, cell in cells),
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
            if name not in RECURRENT - {"Bidirectional"}:
                found = f"only {', '.join(sorted(OF_ONE_CELL))} and RNN are compared yet"
                raise self._refused(f"{where} around {printable(name)}", found)
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

    def _cells(self, cell: object, where: str) -> tuple[list[tuple[str, Config]], bool]:
        """Class and configuration of the cells in RNN(cell), and whether they are stacked."""
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
            if name not in CELLS:
                raise self._refused(f"{where} of {printable(name)}", f"only {', '.join(CELLS)} are compared yet")
            self._only(config, OWN_KEYS[KIND_OF[name]], where)
            configs.append((name, config))
        if not configs:
            raise FileError(self.path, f"{where} has no cells", "save the model again")
        return configs, stacked

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
