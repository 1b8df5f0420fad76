"""Keras cells, vanilla and gated: what the configuration of one says, and how its weights lie in the file.

Sources: `get_config` in keras/layers/recurrent.py (1.0-2.3), keras/layers/cudnn_recurrent.py (2.0.9-2.3),
keras/layers/rnn (2.4-2.15), keras/src/layers/rnn (3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rnnverify.activations import ACTIVATIONS, ALIASES
from rnnverify.canonical import GATES, CellKind, Gating
from rnnverify.errors import FileError, UnsupportedError, printable

Config = Mapping[str, object]

KIND_OF: dict[str, CellKind] = {
    "SimpleRNN": "rnn",
    "GRU": "gru",
    "LSTM": "lstm",
    "CuDNNGRU": "gru",
    "CuDNNLSTM": "lstm",
    "SimpleRNNCell": "rnn",
    "GRUCell": "gru",
    "LSTMCell": "lstm",
}
"""The classes of layers and cells that are compared."""

CELLS = tuple(name for name in KIND_OF if name.endswith("Cell"))
CUDNN = tuple(name for name in KIND_OF if name.startswith("CuDNN"))

# initial values, penalties and dropout act in training only
CELL_KEYS = {"name", "trainable", "dtype", "units", "output_dim", "activation", "use_bias", "implementation", "seed"}
CELL_KEYS |= {"kernel_initializer", "recurrent_initializer", "bias_initializer", "init", "inner_init"}
CELL_KEYS |= {"kernel_regularizer", "recurrent_regularizer", "bias_regularizer"}
CELL_KEYS |= {"W_regularizer", "U_regularizer", "b_regularizer"}
CELL_KEYS |= {"kernel_constraint", "recurrent_constraint", "bias_constraint"}
CELL_KEYS |= {"dropout", "recurrent_dropout", "dropout_W", "dropout_U"}
_GATE_KEYS = {"recurrent_activation", "inner_activation"}
OWN_KEYS: dict[CellKind, set[str]] = {
    "rnn": CELL_KEYS,
    "gru": CELL_KEYS | _GATE_KEYS | {"reset_after"},
    "lstm": CELL_KEYS | _GATE_KEYS | {"unit_forget_bias", "forget_bias_init"},  # initial values, too
}
"""What the configuration of a cell of each kind may say."""


_DEFAULT = Gating()


@dataclass(frozen=True)
class Cell:
    """One cell of a layer. What the file does not state is Keras's default."""

    units: int
    use_bias: bool
    activation: str  # canonical
    stated: bool = True  # False: the file does not say the activation, nor that of the gates
    kind: CellKind = "rnn"
    gating: Gating = _DEFAULT
    cudnn: bool = False  # its weights lie as those of CuDNNGRU and CuDNNLSTM do
    reset_stated: bool = True  # False: without biases, weights alone do not tell the two forms of a GRU apart

    @property
    def counts(self) -> tuple[int, ...]:
        """How many arrays it may have: one of each role for all gates, or in Keras 0 and 1 one for each gate."""
        per_gate = (3 * len(GATES[self.kind]),) if self.kind != "rnn" and self.use_bias and not self.cudnn else ()
        return (2 + self.use_bias, *per_gate)


@dataclass(frozen=True)
class CellReader:
    """Reads the configurations of cells of one file."""

    path: Path
    version: str  # of Keras; "0" where the file does not state it

    def read(self, class_name: str, config: Config, where: str) -> Cell:
        """The cell. Raises `UnsupportedError` for what is not compared, `FileError` for nonsense."""
        kind = KIND_OF[class_name]
        if not set(config) & {"units", "output_dim", "activation", "use_bias"}:
            # Keras 2.0.9 writes no configuration of cells: the weights will tell
            gates = Gating(default_gates(self.version), reset_after=False)
            return Cell(0, True, "tanh", False, kind, gates, reset_stated=False)
        units = config.get("units", config.get("output_dim"))
        if not isinstance(units, int) or isinstance(units, bool) or units < 1:
            raise FileError(self.path, f"{where} has units {printable(units)}, wanted 1 or more", "save it again")
        if class_name in CUDNN:  # these have no options beside their size
            return Cell(units, True, "tanh", True, kind, Gating(), cudnn=True)
        activation = self.activation(config.get("activation"), where)
        gating = _DEFAULT
        if kind != "rnn":
            named = next((config[key] for key in _GATE_KEYS if key in config), default_gates(self.version))
            # before there was reset_after, in 2.1.5, the reset gate acted before the product
            after = kind == "lstm" or bool(config.get("reset_after", False))
            gating = Gating(self.activation(named, where), reset_after=after)
        return Cell(units, bool(config.get("use_bias", True)), activation, True, kind, gating)

    def activation(self, stored: object, where: str) -> str:
        """A serialised activation by its canonical name. Raises `UnsupportedError` for one that is not compared."""
        name = stored
        if isinstance(stored, dict) and stored.get("class_name") == "function":
            own = stored.get("module") in (None, "builtins", "keras.activations", "keras.src.activations.activations")
            named = stored.get("registered_name") in (None, "function", stored.get("config"))
            name = stored.get("config") if own and named else stored.get("registered_name")
        elif isinstance(stored, dict):
            name = stored.get("class_name")
        if stored is None:
            return "linear"
        if name == "hard_sigmoid" and not self.version.startswith("3"):
            if self.version == "0":
                raise self._refused(where, "hard_sigmoid means one function before Keras 3 and another since")
            return "keras2_hard_sigmoid"
        known = ALIASES.get(name, name) if isinstance(name, str) else ""
        if known not in ACTIVATIONS or (isinstance(stored, dict) and stored.get("class_name") != "function"):
            raise self._refused(where, f"activation {printable(name)!r} is not one that is compared")
        return known

    def _refused(self, where: str, why: str) -> UnsupportedError:
        return UnsupportedError(self.path, f"{where}: {why}", "compare another part, or a model without it")


def default_gates(version: str) -> str:
    """What the gates compute unless told otherwise: hard_sigmoid up to Keras 2.2.5 and in TensorFlow 1's Keras."""
    numbers = re.match(r"(\d{1,3})(?:\.(\d{1,3}))?", version)
    old = numbers is not None and 0 < int(numbers[1]) < 3 and (int(numbers[1]), int(numbers[2] or 9)) < (2, 3)
    return "keras2_hard_sigmoid" if old else "sigmoid"
