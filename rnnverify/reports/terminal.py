"""The report that is read in a terminal: verdict last, where the eye is; how it came about above it."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rnnverify.comparison import Comparison, Side
from rnnverify.conversion import Conversion
from rnnverify.errors import RnnverifyError
from rnnverify.inspection import Inspection
from rnnverify.reports.layout import grid, indented, to_string
from rnnverify.reports.terminal_conversion import conversion, fixed
from rnnverify.reports.terminal_findings import findings
from rnnverify.reports.terminal_inspection import inspection
from rnnverify.reports.terminal_pair import START, deviation, number, title, verdict, weights
from rnnverify.reports.terminal_witness import replay, witness

_MATTERS = ("machine", "instructions", "device", "products", "threads", "dtype")
_PACKAGES = {"keras": ("keras", "tensorflow"), "torch": ("torch",), "tensorflow": ("tensorflow", "tf_keras")}


def render(result: Comparison, *, width: int = 80, color: bool = False) -> str:
    """A comparison, at most `width` columns wide."""
    return to_string(_comparison(result), width, color) + replay(result.witness)


def render_error(error: RnnverifyError) -> str:  # noqa: ARG001 - the line on stderr says it all
    """Nothing beside the error line."""
    return ""


def render_inspection(result: Inspection, *, width: int = 80, color: bool = False) -> str:
    """What a file holds, at most `width` columns wide."""
    return to_string(inspection(result), width, color)


def render_conversion(result: Conversion, *, width: int = 80, color: bool = False) -> str:
    """A network that was written elsewhere; the whole comparison too, where it is not the same network."""
    parts = [*conversion(result), *([] if result.files else [Text(), *_comparison(result.comparison)])]
    code = f"\n{result.code}" if result.code else ""  # as it is: a line broken here could not be pasted
    return to_string(parts, width, color) + code


def _comparison(result: Comparison) -> Iterator[RenderableType]:
    for side in result.sides:
        yield _side(side)
    yield Text()
    yield _inputs(result)
    yield from _environment(result)
    for pair in result.pairs:
        yield Text()
        yield title(pair, len(result.pairs) > 1)
        yield indented(deviation(pair))
        if pair.tensors:
            yield indented(weights(pair.tensors))
    if len(result.sides) > 2:
        yield Text()
        yield Text("Maximum deviation of every side against every side", style="bold")
        yield indented(_matrix(result))
    yield Text()
    for pair in result.pairs:
        yield verdict(pair)
    for pair in result.pairs:
        yield from findings(pair)
    if result.witness:
        yield Text()
        yield witness(result.witness, number)
    if result.fixed:
        yield Text()
        yield fixed(result.fixed)


def _side(side: Side) -> Table:
    written = ", ".join(part for part in (side.form, side.writer) if part)
    rows = [("network", side.shape), ("file", written), (_engine(side), _versions(side))]
    rows += [("assumed", text) for text in side.assumptions]
    rows += [("note", text) for text in side.notes]
    if side.not_compared:
        rows.append(("not compared", ", ".join(side.not_compared)))
    details = grid(None, 1)
    for name, text in rows:
        if text:
            style = (
                "yellow"
                if name in ("assumed", "not compared") or (side.engine == "reference" and "ran" in name)
                else ""
            )
            details.add_row(Text(name, style="dim"), Text(text, style=style))
    outer = grid(1)
    outer.add_row(Text.assemble((f"{side.label}  ", "bold cyan"), (side.source, "bold")))
    outer.add_row(Padding(details, (0, 0, 0, 3)))
    return outer


def _engine(side: Side) -> str:
    return "recorded" if side.engine == "trace" else "ran by"


def _versions(side: Side) -> str:
    """How it ran, after the versions of what ran it."""
    if side.engine == "trace":
        return ""
    names = _PACKAGES.get(side.framework, ()) if side.engine == "native" else ()
    named = [f"{name} {side.versions[name]}" for name in names if name in side.versions]
    return ", ".join([*named, side.how])


def _inputs(result: Comparison) -> Text:
    batches = {name: batch for name, batch in result.inputs["batches"].items() if name != "probe"}
    probes = result.inputs["batches"].get("probe", {"shape": [0]})["shape"][0]
    words = []
    for name, batch in batches.items():
        B, T, features = batch["shape"]
        words.append(f"{B} x {T} steps x {features} features {START[name]}")
    if len({tuple(batch["shape"]) for batch in batches.values()}) == 1 and len(words) == 2:
        B, T, features = batches["zero"]["shape"]
        words = [f"{B} sequences of {T} steps, {features} features, from zero and from random initial states"]
    words += [f"and {probes} one-step probes"] * bool(probes)
    return Text.assemble(("Inputs  ", "dim"), f"{', '.join(words)} ({result.inputs['origin']})")


def _environment(result: Comparison) -> Iterator[Text]:
    """What was set otherwise on one side than on another, of all that changes how floats are rounded."""
    for name in _MATTERS:
        known = [(side.label, side.environment[name]) for side in result.sides if name in side.environment]
        if len({value for _, value in known}) > 1:
            words = ", ".join(f"{label} {value}" for label, value in known)
            yield Text.assemble(("Differs ", "dim"), f"{name}: {words}")


def _matrix(result: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    labels = [side.label for side in result.sides]
    table.add_column("")
    for label in labels:
        table.add_column(label, justify="right")
    for i, label in enumerate(labels):
        cells = ["·" if i == j else number(value) for j, value in enumerate(result.matrix[i])]
        table.add_row(Text(label, style="bold"), *cells)
    return table
