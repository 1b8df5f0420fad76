"""TorchScript of PyTorch 1.0 to 1.2: `model.json` names parameters and tensors, each with the member that holds it.

`mainModule` has `submodules`, `parameters` (`name`, `tensorId`) and the source of its methods; `tensors` lists `dims`,
`strides`, `offset` and `dataType` (a name of caffe2's TensorProto) of each (torch/csrc/jit/export.cpp and
caffe2/proto/torch.proto, 1.0.0 to 1.2.0). Numbers in it are text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rnnverify.containers.contents import Contents
from rnnverify.containers.raw_span import itemsize
from rnnverify.containers.torch_archive import Archive
from rnnverify.containers.torch_code import calls
from rnnverify.containers.torch_object import stored
from rnnverify.containers.torch_records import Storage, Tensor
from rnnverify.containers.torch_zip import root_of, storage_reader
from rnnverify.errors import FileError, printable

_DTYPES = {
    "FLOAT": "float32", "DOUBLE": "float64", "FLOAT16": "float16", "INT64": "int64", "INT32": "int32",
    "INT16": "int16", "INT8": "int8", "UINT8": "uint8", "BYTE": "uint8", "BOOL": "bool",
}  # fmt: skip
_MAX_DEPTH = 64
_MAX_CODE = 4 << 20
_AGAIN = "save the module again with torch.jit.save"


def read(archive: Archive) -> Contents:
    """The tensors of such a file under their parameters' names. FileError where model.json makes no sense."""
    path, root = archive.path, root_of(archive, "model.json")
    try:
        model = json.loads(archive.text(f"{root}/model.json"))
        listed = [_tensor(archive, root, entry) for entry in model["tensors"]]
        modules = list(_modules("", model["mainModule"], 0))
        named = [(prefix + p["name"], int(p["tensorId"])) for prefix, m in modules for p in m.get("parameters", [])]
        tensors = {name: listed[index] for name, index in named if index >= 0}
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise FileError(path, "its model.json is not what PyTorch 1.0 to 1.2 writes", _AGAIN) from error
    if not tensors:
        raise FileError(path, "is TorchScript without parameters", "save a module that holds its weights")
    read_storage = storage_reader(archive, f"{root}/")
    facts = {}
    for prefix, module in modules:
        name = f"{root}/{_source(module)}"
        text = archive.text(name, _MAX_CODE).decode("utf-8", "replace") if name in archive.members else ""
        facts.update({prefix + owner: stated for owner, stated in calls(text).items()})
    return Contents(
        path,
        "TorchScript",
        "torch",
        {name: stored(path, name, tensor, read_storage, False) for name, tensor in tensors.items()},
        "PyTorch 1.0 to 1.2",
        {"root": [], "modules": facts, "not_loaded": "torch.jit.load would run the code in the file"},
    )


def _modules(prefix: str, module: Any, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    yield prefix, module
    for inner in module.get("submodules", []):
        yield from _modules(f"{prefix}{inner['name']}.", inner, depth + 1)


def _source(module: dict[str, Any]) -> str:
    key = module.get("torchscriptArena", {}).get("key", "")
    return key if isinstance(key, str) else ""


def _tensor(archive: Archive, root: str, entry: dict[str, Any]) -> Tensor:
    """One entry of `tensors`: a view of the member that its `data` names."""
    key, kind = entry["data"]["key"], str(entry["dataType"])
    dtype = _DTYPES.get(kind, kind)
    shape, strides = (tuple(int(n) for n in entry.get(name, [])) for name in ("dims", "strides"))
    offset = int(entry.get("offset", 0))
    if len(shape) != len(strides) or len(shape) > 32 or min((*shape, *strides, offset, 0)) < 0:
        raise ValueError("a tensor without sound sizes")
    member = archive.members.get(f"{root}/{key}")
    if member is None:
        raise FileError(archive.path, f"lacks {printable(key)}, which holds a tensor", "copy or download it again")
    return Tensor(dtype, shape, strides, offset, Storage(key, dtype, member.file_size // (itemsize(dtype) or 1)))
