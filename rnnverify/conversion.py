"""A network moved to the layout of another framework: written by that framework, read back, run, and judged.

What is written stays only where it was found to be IDENTICAL or EQUIVALENT to its source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rnnverify.adapters.layouts import Layout, lay_out
from rnnverify.assumptions import Assumed, settle
from rnnverify.assumptions.gates import said_again
from rnnverify.canonical import Network
from rnnverify.comparison import Comparison, Verdict
from rnnverify.errors import (
    OptionError,
    OutputError,
    RnnverifyError,
    SelectorError,
    UnsupportedError,
    printable,
)
from rnnverify.inspection import TensorLine
from rnnverify.jobs import Order
from rnnverify.native import Runners
from rnnverify.options import Options
from rnnverify.output import folder_beside, put_in_place
from rnnverify.porting.origins import Origins
from rnnverify.porting.porting_code import porting_code, sources
from rnnverify.sides import Opened, open_side, parse, parse_all
from rnnverify.targets import Form, check_place, files_of, form_for
from rnnverify.verify import compare
from rnnverify.weights import structure

_SAME: tuple[Verdict, ...] = ("IDENTICAL", "EQUIVALENT")
_WRITERS = {"tensorflow": ("tensorflow", "tf_keras"), "flax": ("flax", "jax"), "equinox": ("equinox", "jax")}
"""What a framework's writer runs, where that is more than its own package."""


@dataclass(frozen=True)
class Conversion:
    """What was written, and whether it is still the same network."""

    source: str
    target: str
    files: tuple[str, ...]  # that stand there now; empty where what was written is not the same network
    form: str  # such as "PyTorch state_dict"
    written_by: str  # such as "torch 2.13.0, torch.save"
    shape: str  # such as "1 layer, 5 -> 8, tanh"
    part: str  # the selector with which the target is read; empty where it needs none
    tensors: tuple[TensorLine, ...]  # of the target, as they are read back
    not_converted: tuple[str, ...]  # layers around the recurrent ones
    notes: tuple[str, ...]
    comparison: Comparison  # A the source, B what was written
    code: str = ""  # that ports the weights by hand; empty where it was not asked for

    @property
    def verdict(self) -> Verdict:
        return self.comparison.verdict

    @property
    def exit_code(self) -> int:
        return self.comparison.exit_code


def convert(
    source: str | Path,
    target: str | Path,
    options: Options | None = None,
    *,
    to: str | None = None,
    force: bool = False,
    show_code: bool = False,
) -> Conversion:
    """Write the network of `source` to `target`, in the form `to`, or else the one that the suffix names.

    `options` are those of the comparison with the source; its tolerance counts for nothing here. Raises an
    RnnverifyError where nothing could be written: a network that the framework cannot compute, a target that is there
    without `force`.
    """
    options = options or Options()
    (parsed,) = parse_all([str(source)])
    form = form_for(Path(target), to)
    check_place(Path(target), form, {"the source": parsed.path}, force)
    (side,) = settle([open_side(parsed)], options.assumed)
    if side.reading is None or side.contents is None:
        raise OptionError(f"{side.source}: is a trace, and holds no weights; give a model file")
    place = check_place(Path(target), form, {"the source": side.contents.path}, force)
    given = sources(side) if show_code else None  # may refuse, before anything is written
    return write_network(side, Path(target), place, form, options, given=given)


def write_network(
    side: Opened,
    target: Path,
    place: Path,
    form: Form,
    options: Options,
    names: Sequence[str] = (),
    given: Origins | None = None,
) -> Conversion:
    """Write the network of `side`, a model, to `place`, which the report calls `target`, if it proves to be the same.

    `names` are those of the framework's objects, one a layer of the network; where the weights stand in the file of
    `side` is `given` where code is wanted, too. Raises as `convert` does.
    """
    assert side.reading is not None
    network = side.reading.network
    layout = lay_out(network, form.layout, target, names)
    if form.weights_only:
        _check_told_apart(network, target)
    with folder_beside(place) as folder:
        fits = place.name.endswith(form.suffixes)
        path = folder / (place.name if fits else place.name + form.suffixes[0])
        with Runners(options.limits) as runners:
            (made,) = runners.write(Order(printable(target, 300), layout, network.input_size, path, form.name))
        written, part = _read_back(path, layout, network, target)
        code = porting_code(side, given, layout, written) if given else ""
        judged = Options(  # nothing that lets more pass: no tolerance, no symmetry, the dtype of the weights
            inputs=options.inputs,
            assumed=_assumed(side, written, options.assumed),
            engine=options.engine,
            limits=options.limits,
            activation_error=options.activation_error,
            trust=tuple(label for label in options.trust if label == "A"),
            pythons=tuple(text for text in options.pythons if text[:1].upper() == "A"),
        )
        result = compare(side.source.given, written.source.given, options=judged)
        places = files_of(place, form)
        if result.verdict in _SAME:
            put_in_place(dict(zip(files_of(path, form), places, strict=True)))
    shown = printable(target, 300) + (f"#{printable(part)}" if part else "")
    return Conversion(
        source=str(side.source),
        target=shown,
        files=tuple(str(each) for each in files_of(target, form)) if result.verdict in _SAME else (),
        form=form.words,
        written_by=_writer(made, form),
        shape=structure(network),
        part=part,
        tensors=_lines(written),
        not_converted=(*side.reading.not_compared, *side.reading.around.words),
        notes=(*layout.notes, *_notes(side)),
        comparison=replace(result, sides=(result.sides[0], replace(result.sides[1], source=shown))),
        code=code,
    )


def _check_told_apart(network: Network, target: Path) -> None:
    """UnsupportedError where a file of weights alone would leave open what differs from layer to layer."""
    merges = {layer.merge for layer in network.layers if layer.bidirectional}
    ways = {layer.directions[0].reverse for layer in network.layers if not layer.bidirectional}
    if len(merges) > 1 or len(ways) > 1:
        differ = f"merge modes {' and '.join(sorted(merges))}" if len(merges) > 1 else "forward and backward layers"
        found = f"the network has {differ}, and a file of weights alone does not say which layer has which"
        raise UnsupportedError(target, found, "convert to .keras or .h5, which do")


def _read_back(path: Path, layout: Layout, network: Network, target: Path) -> tuple[Opened, str]:
    """What was written, as any other file is read, and the selector that it took.

    It takes one where the file alone leaves open, or lets one guess wrong, which cells feed which.
    """
    try:
        try:
            found = open_side(parse(str(path), "B"))
        except SelectorError:
            if not layout.part:
                raise
            found = None
        if found and (not layout.part or _connected(found.network) == _connected(network)):
            return found, ""
        return open_side(parse(f"{path}#{layout.part}", "B")), layout.part
    except RnnverifyError as error:
        found_words = f"what was written cannot be read back ({printable(error, 400)})"
        raise OutputError(
            f"{printable(target, 300)}: {found_words}; nothing was left there: convert to another form"
        ) from error


def _connected(network: Network | None) -> list[tuple[str, int]]:
    """What kind of cell each layer has, and how many directions."""
    return [(layer.cell, len(layer.directions)) for layer in network.layers] if network else []


def _assumed(side: Opened, written: Opened, given: Assumed) -> Assumed:
    """What the files of both do not state, as it was in the network that was written: nothing is borrowed back."""
    assert side.reading is not None
    layers = side.reading.network.layers
    activations = {layer.activation for layer in layers}
    merges = sorted({layer.merge for layer in layers if layer.bidirectional} - {"concat"})
    backwards = any(layer.directions[0].reverse for layer in layers if not layer.bidirectional)
    unstated = [s.source.label for s in (side, written) if s.reading and not s.reading.activation_stated]
    open_ones = ("keras", "flax", "equinox")
    weights_only = [s.reading.recipe.framework in open_ones for s in (side, written) if s.reading]
    ours, theirs = (label in unstated and keras for label, keras in zip("AB", weights_only, strict=True))
    return Assumed(
        tuple(f"{label}={name}" for label in unstated for name in activations) if len(activations) == 1 else (),
        (
            *(f"A={text.rpartition('=')[2]}" for text in given.merge_modes if ours),
            *(f"B={merge}" for merge in merges if theirs),
        ),
        (*given.go_backwards, *["B"] * (backwards and theirs)),
        *said_again((side, written), side.reading.network),
    )


def _writer(made: Mapping[str, Any], form: Form) -> str:
    versions = made["versions"]
    packages = _WRITERS.get(form.framework, (form.framework,))
    return ", ".join([*(f"{name} {versions[name]}" for name in packages if name in versions), made["written"]])


def _lines(written: Opened) -> tuple[TensorLine, ...]:
    assert written.contents is not None and written.reading is not None
    roles, unused = written.reading.roles, written.reading.unused
    return tuple(
        TensorLine(name, t.shape, t.dtype, roles.get(name, ""), unused.get(name, ""))
        for name, t in written.contents.tensors.items()
    )


def _notes(side: Opened) -> tuple[str, ...]:
    assert side.reading is not None
    value, said = side.reading.mask_value, (*side.reading.notes, *(side.assumptions or side.reading.assumptions))
    if value is None:
        return said
    return (f"the source skips steps whose features all equal {value:g}, what was written does not", *said)
