"""How a tensor of a model is set, in the words of its framework: what stands before the value, and behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnverify.adapters.keras.gates import APART, ROLES
from rnnverify.adapters.reading import Reading
from rnnverify.canonical import CellKind
from rnnverify.containers.contents import FrameworkName
from rnnverify.porting.array_code import Call, quoted
from rnnverify.porting.assembly import Assignment


@dataclass(frozen=True)
class Setter:
    """How one framework does it; `{name}` is the tensor as the file calls it, quoted, `{number}` the last word of it,
    `{place}` what `places` has for it, `{part}` the subscript of what is set."""

    held: str  # what the lines take for granted
    before: str
    after: str
    places: Callable[[Reading], Mapping[str, str]] = lambda _: {}
    """Of a reading: tensor to how the variable of the model is set that holds it."""


def set_to(assignment: Assignment, reading: Reading) -> str | None:
    """The statement that sets it, on several lines where it is long; None where there is no variable to set."""
    setter = SETTERS[reading.recipe.framework]
    name, place = assignment.name, setter.places(reading).get(assignment.name, "")
    if ("{place}" in setter.before and not place) or ("{part}" not in setter.before and assignment.subscript):
        return None
    words = {"name": quoted(name), "number": name.rpartition(" ")[2], "place": place, "part": assignment.subscript}
    return "\n".join(Call(setter.before.format(**words), (assignment.value,), setter.after).lines())


def _keras_places(reading: Reading) -> dict[str, str]:
    found: dict[str, str] = {}
    cells = iter(layer.cell for layer in reading.network.layers)
    for spec in reading.recipe.layers:
        kinds = [next(cells) for _ in listed(spec["cells"])]
        for direction, names in enumerate(listed(spec["tensors"])):
            for k, (kind, of_cell) in enumerate(zip(kinds, names, strict=True)):
                before, after = _keras_cell(spec, direction, k)
                variables = (before + each + after for each in _keras_variables(kind, len(of_cell)))
                found |= zip(of_cell, variables, strict=False)
    return found


def _keras_cell(spec: Mapping[str, Any], direction: int, cell: int) -> tuple[str, str]:
    """What stands before the name of a variable of one cell of a layer where it is set, and behind it.

    Keras 1 and the layers of cuDNN have no cell, and variables that are set by the backend only.
    """
    layer = "model" + "".join(f".get_layer({quoted(str(name))})" for name in spec["path"])
    layer += ((".forward_layer", ".backward_layer")[direction]) * spec["bidirectional"]
    stacked = f".cells[{cell}]" * (len(spec["cells"]) > 1)
    alone = spec["cells"][cell]["cudnn"] or len(spec["tensors"][direction][cell]) > len(ROLES)
    return (f"keras.backend.set_value({layer}.", ", ") if alone else (f"{layer}.cell{stacked}.", ".assign(")


def _keras_variables(kind: CellKind, count: int) -> Iterator[str]:
    if count <= len(ROLES):
        yield from ROLES
    else:
        yield from (f"{letter}_{gate}" for gate in APART[kind] for letter in "WUb")


def listed(value: object) -> Sequence[Any]:
    """A value of a recipe that is a list."""
    assert isinstance(value, (list, tuple))
    return value


SETTERS: Mapping[FrameworkName, Setter] = {
    "torch": Setter("state_dict: what is loaded or saved", "state_dict[{name}]{part} = torch.from_numpy(", ")"),
    "keras": Setter("model: the Keras model", "{place}", ")", _keras_places),
    "onnx": Setter(
        "tensors: {t.name: numpy_helper.to_array(t).copy() for t in model.graph.initializer}",
        "tensors[{name}]{part} = ",
        "",
    ),
    "tensorflow": Setter(
        "variables: {v.op.name: v for v in tf.compat.v1.global_variables()}",
        "variables[{name}].load(",
        ", session)",
    ),
    "flax": Setter(
        "flat: the arrays of the file by their names, as flax.traverse_util.flatten_dict has them",
        "flat[{name}]{part} = ",
        "",
    ),
    "equinox": Setter(
        "leaves: jax.tree_util.tree_leaves(equinox.filter(model, equinox.is_array_like))",
        "leaves[{number}]{part} = ",
        "",
    ),
}
