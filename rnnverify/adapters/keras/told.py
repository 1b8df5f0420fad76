"""What the shapes of weights tell of a Keras cell that no configuration describes."""

from __future__ import annotations

from collections.abc import Sequence

from rnnverify.adapters.keras.cells import Cell, default_gates
from rnnverify.adapters.keras.gates import ROLES
from rnnverify.canonical import GATES, CellKind, Gating
from rnnverify.containers.contents import Contents

_KINDS: dict[int, CellKind] = {len(gates): kind for kind, gates in GATES.items()}


def by_shapes(contents: Contents, names: Sequence[str]) -> Cell | None:
    """The cell that has these tensors, in the order in which Keras lists them; None where no known one has as many
    gates. What no shape tells is Keras's default: activations, and the form of a GRU without biases."""
    H, gates = _size(contents, names)
    kind = _KINDS.get(gates)
    if kind is None:
        return None
    bias = _shape(contents, names[2]) if len(names) == len(ROLES) else (gates * H,)
    cudnn = kind != "rnn" and bias == (2 * gates * H,)
    known = len(names) >= len(ROLES) or kind != "gru"
    version = keras_version(contents)
    after = kind == "lstm" or cudnn or len(bias) == 2 or (not known and _resets_after(version))
    gating = Gating("sigmoid" if kind == "rnn" or cudnn else default_gates(version), reset_after=after)
    return Cell(H, len(names) >= len(ROLES), "tanh", cudnn, kind, gating, cudnn, known)


def gates_in(contents: Contents, names: Sequence[str]) -> int:
    """How many gates a unit has, by the shapes of these tensors."""
    return _size(contents, names)[1]


def keras_version(contents: Contents) -> str:
    """Of the Keras that wrote the file: early Keras 1 wrote HDF5 without one, and Keras 3 without names of layers."""
    stated = str(contents.metadata.get("keras_version", ""))
    if stated[:1].isdigit():
        return stated
    listed = "layer_weights" in contents.metadata or "model_config" in contents.metadata
    return "0" if contents.form != "HDF5" else "1" if listed else "3"


def _resets_after(version: str) -> bool:
    """Whether a GRU does so unless told otherwise: since TensorFlow 2, and never in Keras itself before version 3."""
    return "-tf" in version or not version.startswith(("0.", "1", "2.0", "2.1", "2.2", "2.3"))


def _size(contents: Contents, names: Sequence[str]) -> tuple[int, int]:
    """(units, gates) by the recurrent kernels; units 0 where these make no sense."""
    shape = _shape(contents, names[1])
    if len(names) > len(ROLES):
        return (shape[-1] if shape else 0), len(names) // len(ROLES)
    if len(shape) != 2 or not shape[0] or shape[1] % shape[0]:
        return (shape[-1] if shape else 0), 1
    kernel = _shape(contents, names[0])
    gates = shape[1] // shape[0]
    return (shape[0], gates) if kernel[-1:] == shape[1:] else (shape[1], 1)


def _shape(contents: Contents, name: str) -> tuple[int, ...]:
    stored = contents.tensors.get(name)
    return stored.shape if stored else ()
