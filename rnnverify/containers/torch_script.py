"""TorchScript (torch.jit.save): parameters, and what the code beside them states of recurrent layers.

Since PyTorch 1.3 `<root>/data.pkl` describes the module with its attributes, the numbers lie in `<root>/data/`, and
`<root>/code/` holds the source of its classes; `constants.pkl` holds tensors that belong to no module
(torch/csrc/jit/serialization/export_module.cpp, 1.3.1 to 2.13.0). The form before it, with `model.json`, is read by
`torch_script_json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rnnverify.containers import torch_object, torch_script_json
from rnnverify.containers.contents import Contents
from rnnverify.containers.torch_archive import Archive, open_archive
from rnnverify.containers.torch_code import calls, class_text, constants, traced_cell
from rnnverify.containers.torch_modules import Facts, inside, is_scripted
from rnnverify.containers.torch_records import Global, MalformedError, Record
from rnnverify.containers.torch_zip import root_of, storage_reader, unpickled
from rnnverify.errors import FileError, UnsupportedError

NOT_LOADED = "torch.jit.load would run the code in the file"
_MAX_CODE = 4 << 20  # bytes of one source file
_MAX_FILES = 2000  # source files that are looked into


def read(path: Path) -> Contents:
    """The tensors of a TorchScript file by their names as parameters. Raises FileError for a damaged file,
    UnsupportedError where the module was frozen, which leaves its weights without names.
    """
    archive = open_archive(path)
    if any(name.endswith("/model.json") and name.count("/") == 1 for name in archive.members):
        return torch_script_json.read(archive)
    root = root_of(archive, "data.pkl")
    loaded = unpickled(archive, f"{root}/data.pkl")
    constant = f"{root}/constants.pkl"
    unnamed = unpickled(archive, constant).storages if constant in archive.members else {}
    if not loaded.storages and unnamed:
        found = "is TorchScript whose weights have no names: it was frozen (torch.jit.freeze)"
        raise UnsupportedError(path, found, "save the module as it was before torch.jit.freeze")
    big_endian = archive.big_endian(f"{root}/byteorder")
    writer = "PyTorch 2 or later" if f"{root}/byteorder" in archive.members else "PyTorch 1.3 or later"
    read_storage = storage_reader(archive, f"{root}/data/")
    contents = torch_object.contents(path, "TorchScript", writer, loaded, read_storage, big_endian)
    metadata = {**contents.metadata, "not_loaded": NOT_LOADED}
    if isinstance(loaded.value, Record) and is_scripted(loaded.value):
        metadata["modules"] = _with_code(archive, root, loaded.value, contents.metadata.get("modules"))
    return replace(contents, metadata=metadata)


def _with_code(archive: Archive, root: str, module: Record, stated: object) -> dict[str, Facts]:
    """What each module states of itself, and what the code states of it."""
    known = {prefix: dict(facts) for prefix, facts in stated.items()} if isinstance(stated, Mapping) else {}
    texts: dict[Global, str] = {}
    try:
        modules = list(inside(module))
    except MalformedError as error:
        raise FileError(archive.path, f"its pickle {error}", "save the module again") from error
    for prefix, inner in modules:
        name = f"{root}/code/{inner.made_by.module.replace('.', '/')}.py"
        if inner.made_by not in texts:
            missing = name not in archive.members or len(texts) >= _MAX_FILES
            text = "" if missing else archive.text(name, _MAX_CODE).decode("utf-8", "replace")
            texts[inner.made_by] = class_text(text, inner.made_by.name)
        text = texts[inner.made_by]
        for owner, facts in calls(text).items():
            known.setdefault(prefix + owner, {}).update(facts)
        if inner.made_by.name == "RNNCell" and ".torch.nn.modules.rnn" in inner.made_by.module:
            known.setdefault(prefix, {}).update(traced_cell(text))
        known.setdefault(prefix, {}).update(constants(text))
    return known
