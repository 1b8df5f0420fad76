"""The lines of code that port a network by hand: the weights of a file, under its own names, into another framework."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rnnverify.adapters.layouts import Layout
from rnnverify.adapters.onnx.weights import INPUTS
from rnnverify.adapters.reading import Reading
from rnnverify.containers.contents import FrameworkName
from rnnverify.errors import UnsupportedError
from rnnverify.porting.array_code import Call, quoted
from rnnverify.porting.assembly import Assembly, Assignment, assemble
from rnnverify.porting.origins import Origins, origins
from rnnverify.porting.setters import SETTERS, listed, set_to
from rnnverify.porting.wordings import Code, attributes, call, keras_layer, tensorflow_cell, torch_module
from rnnverify.sides import Opened

HOLDER = "source"
_HEAD = f"# {HOLDER}[name] is the array that the file holds under that name; `rnnverify inspect` lists them"

Values = Mapping[str, "str | Call"]
"""By tensor of the file that was written, the expression for what it has to hold."""


def sources(side: Opened) -> Origins:
    """Where the weights of `side` stand in its file. Raises UnsupportedError where they do not stand there one by one,
    such as a kernel that weight_norm keeps in two tensors."""
    assert side.contents is not None and side.reading is not None
    found = origins(side)
    computed = [
        f"{where} {name.replace('_', ' ')}"
        for d, (where, _, direction) in enumerate(side.reading.network.directions())
        for name, _ in direction.tensors()
        if found is None or name not in found.directions[d]
    ]
    if found is None or computed:
        words = f"{computed[0]} is computed from what the file holds, and has no line of its own"
        raise UnsupportedError(side.contents.path, words, "leave out --show-code")
    return found


def porting_code(side: Opened, given: Origins, layout: Layout, written: Opened) -> str:
    """Python that puts the weights of `side`, which stand at the places `given`, into layers of a framework, as
    `written` holds them: the file that was made of `layout`.

    Raises UnsupportedError for what no line can do.
    """
    assert side.reading is not None and written.reading is not None and written.contents is not None
    there = origins(written)
    made = assemble(given, side.reading.network, there, written.reading.network, HOLDER) if there else None
    if made is None or made.beyond:
        found = f"{' '.join(sorted(made.beyond)[0]) if made else 'the network'} has no lines that set it"
        raise UnsupportedError(written.contents.path, found, "leave out --show-code")
    code = _CODE.get(layout.framework)
    lines = [*code(layout, _values(made), written.reading)] if code else [*_tree(made, written.reading)]
    numpy = any("np." in line for line in lines) and "import numpy as np" not in lines
    return "\n".join(["import numpy as np"] * numpy + lines) + "\n"


def _values(made: Assembly) -> Values:
    """What each tensor has to hold; that of both directions, set one by one, is put together of the two."""
    parts: dict[str, list[Assignment]] = {}
    for assignment in made.assignments:
        parts.setdefault(assignment.name, []).append(assignment)
    return {
        name: Call("np.stack([", tuple(each.value for each in of_tensor), "])")
        if of_tensor[0].subscript
        else of_tensor[0].value
        for name, of_tensor in parts.items()
    }


def _torch(layout: Layout, values: Values, _: Reading) -> Iterator[str]:
    yield from ("import torch", "", _HEAD)
    for made in layout.layers:
        name = made["prefix"][:-1] or "rnn"
        dtype = Code(f"torch.{made['dtype']}")
        yield f"{name} = {torch_module(made, batch_first=True, dtype=dtype)}"
        yield "with torch.no_grad():"
        for parameter, tensor in made["keys"].items():
            value = values[tensor]
            if str(value).startswith("np.zeros("):
                yield f"    {name}.{parameter}.zero_()"
            else:
                yield from Call(f"{name}.{parameter}.copy_(torch.from_numpy(", (value,), "))").lines("    ")


def _keras(layout: Layout, values: Values, written: Reading) -> Iterator[str]:
    yield from ("import keras", "import numpy as np", "", _HEAD, "model = keras.Sequential([")
    yield f"    keras.Input((None, {written.network.input_size})),"
    for made in layout.layers:
        dtype = made["dtype"] if made["dtype"] != "float32" else None
        if made["bidirectional"]:
            one = Code(keras_layer(made, dtype=dtype))
            options = {"merge_mode": made["merge_mode"], "dtype": dtype, "name": made["name"]}
            yield f"    {call('keras.layers.Bidirectional', one, **options)},"
        else:
            yield f"    {keras_layer(made, dtype=dtype, name=made['name'])},"
    yield "])"
    for made, spec in zip(layout.layers, written.recipe.layers, strict=True):
        yield f'model.get_layer("{made["name"]}").set_weights(['
        for name in (name for cells in listed(spec["tensors"]) for names in cells for name in names):
            yield from _argument(values[name])
        yield "])"


def _onnx(layout: Layout, values: Values, _: Reading) -> Iterator[str]:
    yield from ("import numpy as np", "from onnx import helper, numpy_helper", "", _HEAD, "tensors, nodes = [], []")
    for made in layout.layers:
        for node in made["nodes"]:
            read = ["X", "", "", "", "", "", "", ""]
            for name in node["tensors"]:
                read[INPUTS[name.rpartition(".")[2]]] = name
                after = f", {quoted(name)}))"
                yield from Call("tensors.append(numpy_helper.from_array(", (values[name],), after).lines()
            while not read[-1]:
                read.pop()
            name = node["name"]
            gives = [f"{name}/Y", f"{name}/h_n", *[f"{name}/c_n"] * (node["op"] == "LSTM")]
            yield f'nodes.append(helper.make_node("{node["op"]}", {read}, {gives}, "{name}", {attributes(node)}))'
    yield "# X is (T, B, I); a node's Y is (T, directions, B, H): before the next node put the directions beside H"


def _tensorflow(layout: Layout, values: Values, _: Reading) -> Iterator[str]:
    yield from ("import numpy as np", "import tensorflow as tf", "", _HEAD, "# in the graph, with a session open:")
    for made in layout.layers:
        for cell in made["cells"]:
            cells = [tensorflow_cell(cell, direction) for direction in range(2 if made["kind"] == "both" else 1)]
            yield from dict.fromkeys(f"#   {each}, in the scope {cell['scope']}" for each in cells)
    yield "values = {"
    for name in layout.tensors:
        first, *more = _argument(values[name])
        yield from (f"    {quoted(name)}: {first.strip()}", *more)
    yield "}"
    yield "for variable in tf.compat.v1.global_variables():"
    yield "    variable.load(values[variable.op.name], session)"


def _argument(value: str | Call) -> list[str]:
    """A value among others, which takes lines of its own where it is long."""
    lines = list(value.lines("    ")) if isinstance(value, Call) else [f"    {value}"]
    return [*lines[:-1], f"{lines[-1]},"]


def _tree(made: Assembly, written: Reading) -> Iterator[str]:
    """Of a framework whose layers the user makes: the arrays of their tree alone."""
    yield from (_HEAD, f"# {SETTERS[written.recipe.framework].held}")
    yield from (line for assignment in made.assignments if (line := set_to(assignment, written)))


_CODE: Mapping[FrameworkName, Callable[[Layout, Values, Reading], Iterator[str]]] = {
    "torch": _torch,
    "keras": _keras,
    "tensorflow": _tensorflow,
    "onnx": _onnx,
}
