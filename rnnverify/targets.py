"""Where a converted network goes: the forms that are written, told by suffix, and the files that each one is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnverify.adapters.layouts import LayoutName
from rnnverify.containers import FrameworkName
from rnnverify.containers.contents import Contents
from rnnverify.errors import OptionError, OutputError, UnsupportedError, printable


@dataclass(frozen=True)
class Form:
    """One form of file that is written."""

    name: str  # as `--to` has it
    framework: FrameworkName  # whose layout
    words: str
    suffixes: tuple[str, ...]  # the first is added where the framework demands one
    files: tuple[str, ...] = ("",)  # what is added to the target's name for each file
    weights_only: bool = False  # states neither merge mode nor direction
    interface: LayoutName | None = None  # of the framework, where it has two

    @property
    def layout(self) -> LayoutName:
        return self.interface or self.framework


FORMS: Mapping[str, Form] = {
    form.name: form
    for form in (
        Form("pt", "torch", "PyTorch state_dict", (".pt", ".pth")),
        Form("safetensors", "torch", "safetensors, PyTorch's names", (".safetensors",)),
        Form("npz", "torch", "npz, PyTorch's names", (".npz",)),
        Form("weights.h5", "keras", "Keras weights", (".weights.h5",), weights_only=True),
        Form("h5", "keras", "Keras model, HDF5", (".h5", ".hdf5")),
        Form("keras", "keras", "Keras model, zip", (".keras",)),
        Form("flax", "flax", "Flax msgpack", (".msgpack",), weights_only=True),
        Form("flax.npz", "flax", "npz of Flax", (".flax.npz", ".npz"), weights_only=True),
        Form(
            "flax.safetensors",
            "flax",
            "safetensors of Flax",
            (".flax.safetensors", ".safetensors"),
            weights_only=True,
        ),
        Form("nnx", "flax", "Flax nnx msgpack", (".nnx.msgpack", ".msgpack"), weights_only=True, interface="nnx"),
        Form("nnx.npz", "flax", "npz of Flax nnx", (".nnx.npz", ".npz"), weights_only=True, interface="nnx"),
        Form(
            "nnx.safetensors",
            "flax",
            "safetensors of Flax nnx",
            (".nnx.safetensors", ".safetensors"),
            weights_only=True,
            interface="nnx",
        ),
        Form("equinox", "equinox", "Equinox leaves", (".eqx",), weights_only=True),
        Form("onnx", "onnx", "ONNX model", (".onnx",)),
        Form("ckpt", "tensorflow", "TensorFlow checkpoint", (".ckpt",), (".data-00000-of-00001", ".meta", ".index")),
    )
}
"""Name to form."""


def form_for(target: Path, to: str | None) -> Form:
    """The form of `target`: `to`, or what its suffix says. Raises OptionError where neither tells."""
    known = ", ".join(FORMS)
    if to is not None:
        if to not in FORMS:
            raise OptionError(f"--to {printable(to)}: known are {known}")
        return FORMS[to]
    form = suffix_form(target)
    if form is None:
        raise OptionError(f"{printable(target, 300)}: its suffix names no form; say which with --to, one of {known}")
    return form


def suffix_form(target: Path) -> Form | None:
    """The form that the suffix of `target` names; of two that fit, the longer one counts, then the first."""
    fitting = [(suffix, form) for form in FORMS.values() for suffix in form.suffixes if target.name.endswith(suffix)]
    return max(fitting, key=lambda pair: len(pair[0]))[1] if fitting else None


def form_like(contents: Contents, cells: Collection[str] = ()) -> Form:
    """The form in which a network is written that is to stand in for the file of `contents`.

    `cells` are the classes of the cells in it, where it is Flax's: `linen.GRUCell`. Raises UnsupportedError for a form,
    or a class, that is read and not written.
    """
    if contents.form == "Orbax checkpoint" or "nnx.OptimizedLSTMCell" in cells:
        what = "an Orbax checkpoint" if contents.form == "Orbax checkpoint" else "a file of nnx.OptimizedLSTMCell"
        found = f"is {what}, which this version reads and does not write"
        raise UnsupportedError(contents.path, found, f"convert to one of {', '.join(FORMS)}")
    if contents.framework == "keras":
        full = isinstance(contents.metadata.get("model_config"), dict)
        return FORMS[("keras" if contents.form == "Keras zip" else "h5") if full else "weights.h5"]
    if contents.framework == "flax":
        interface = "nnx" if any(name.startswith("nnx.") for name in cells) else "flax"
        return FORMS[f"{interface}.{contents.form}" if contents.form in ("safetensors", "npz") else interface]
    if contents.framework in ("tensorflow", "onnx", "equinox"):
        return FORMS["ckpt" if contents.framework == "tensorflow" else contents.framework]
    return FORMS[contents.form if contents.form in ("safetensors", "npz") else "pt"]


def files_of(target: Path, form: Form) -> list[Path]:
    """Every file that `target` is, in the order in which they are moved into place."""
    return [target.with_name(target.name + end) for end in form.files]


def check_place(target: Path, form: Form, sources: Mapping[str, Path], force: bool | None) -> Path:
    """Where to write: `target`, links followed. Raises OutputError where something stands there that is to stay.

    `sources` maps words to the files that are read, which are never replaced; `force` is None where nothing may be.
    """
    shown = printable(target, 300)
    try:
        place = target.resolve()
        if not place.name:
            raise ValueError("it names no file")
        folder = place.parent.is_dir()
        there = [path for path in (place, *files_of(place, form)) if path.exists() or path.is_symlink()]
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL, a name too long
        raise OutputError(f"{shown}: cannot be written ({printable(error)}); choose another place") from error
    if not folder:
        raise OutputError(f"{shown}: its folder does not exist; make it first, or choose another place")
    for words, source in sources.items():
        whole = source.resolve()
        if whole.name and _touches([place, *there], [whole, *files_of(whole, FORMS["ckpt"])]):
            raise OutputError(f"{shown}: is {words}, which is never replaced; choose another place")
    odd = [path for path in there if not path.is_file()]
    if odd:
        raise OutputError(f"{shown}: {printable(odd[0], 300)} is no plain file; choose another place")
    if there and not force:
        advice = "choose another place" if force is None else "choose another place, or replace it with --force"
        raise OutputError(f"{shown}: {printable(there[0].name)} is there already; {advice}")
    return place


def _touches(places: Sequence[Path], sources: Sequence[Path]) -> bool:
    """Whether any of both is the same file, under whatever name."""
    same = {place.resolve() for place in places} & {source.resolve() for source in sources}
    there = [[path for path in paths if path.exists()] for paths in (places, sources)]
    return bool(same) or any(place.samefile(source) for place in there[0] for source in there[1])
