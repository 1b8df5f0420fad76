"""`.pt2` (torch.export.save): weights by name, and the graph, whose recurrent nodes state their kind and activation.

Since PyTorch 2.8 `<root>/data/weights/<model>_weights_config.json` maps each name to a member of raw numbers with its
dtype, sizes and strides, and `<root>/models/<model>.json` holds the graph (torch/export/pt2_archive/_package.py,
torch/_export/serde/schema.py, 2.13.0). Before, `serialized_state_dict.pt` was a torch.save file inside, beside
`serialized_exported_program.json` (torch/export/__init__.py, 2.1 to 2.7). Pickles of sample inputs lie beside them:
their values are not used, but what they call is looked through, and refused by name like that of every pickle.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnverify.containers import torch_object
from rnnverify.containers.contents import Contents
from rnnverify.containers.raw_span import itemsize
from rnnverify.containers.torch_archive import AGAIN, Archive, open_archive
from rnnverify.containers.torch_code import MODES, cell_facts
from rnnverify.containers.torch_modules import Facts
from rnnverify.containers.torch_records import Storage, Tensor
from rnnverify.containers.torch_zip import root_of, storage_reader, unpickled
from rnnverify.errors import FileError, UnsupportedError, printable

_DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16",
}  # fmt: skip
"""ScalarType of torch/_export/serde/schema.py."""

_NOT_LOADED = "torch.export.load would unpickle the sample inputs in the file"
_PROGRAM = "serialized_exported_program.json"


def read(path: Path) -> Contents:
    """The tensors of a .pt2 file by their names as parameters; values are read on demand. Raises FileError for a
    damaged file, UnsupportedError for one without weights, with several models, or with a pickle that calls what is
    not torch's own.
    """
    archive = open_archive(path)
    for name, member in archive.members.items():
        if name.endswith(".pt") and member.file_size:
            inner = archive.inside(name)
            unpickled(inner, f"{root_of(inner, 'data.pkl')}/data.pkl")
    if _PROGRAM in archive.members:
        return _read_program(archive)
    root = root_of(archive, "archive_format")
    folder = f"{root}/data/weights/"
    configs = [n for n in archive.members if n.startswith(folder) and n.endswith("_weights_config.json")]
    if len(configs) != 1:
        found = f"is a .pt2 archive with the weights of {len(configs) or 'no'} models"
        raise UnsupportedError(path, found, "save one model with torch.export.save")
    model = configs[0].removeprefix(folder).removesuffix("_weights_config.json")
    config = _json(archive, configs[0])
    tensors = dict(_tensors(archive, folder, config))
    read_storage, big_endian = storage_reader(archive, folder), archive.big_endian(f"{root}/byteorder")
    graph = f"{root}/models/{model}.json"
    program = _json(archive, graph) if graph in archive.members else {}
    return Contents(
        path,
        "torch.export archive",
        "torch",
        {name: torch_object.stored(path, name, tensor, read_storage, big_endian) for name, tensor in tensors.items()},
        _writer(program),
        {"root": [], "modules": _facts(archive, program), "not_loaded": _NOT_LOADED},
    )


def _read_program(archive: Archive) -> Contents:
    """The form of PyTorch 2.1 to 2.7, whose weights are a torch.save file inside."""
    program = _json(archive, _PROGRAM)
    kept = [n for n in ("serialized_state_dict.pt", "serialized_state_dict.json") if n in archive.members]
    if not kept:
        raise UnsupportedError(archive.path, "is a torch.export archive without a state dict", "save its weights too")
    inner = archive.inside(kept[0])
    root = root_of(inner, "data.pkl")
    loaded, read_storage = unpickled(inner, f"{root}/data.pkl"), storage_reader(inner, f"{root}/data/")
    big_endian = inner.big_endian(f"{root}/byteorder")
    contents = torch_object.contents(
        archive.path, "torch.export archive", _writer(program), loaded, read_storage, big_endian
    )
    stated = {"root": [], "modules": _facts(archive, program), "not_loaded": _NOT_LOADED}
    return replace(contents, metadata=stated)


def _json(archive: Archive, name: str) -> Any:
    try:
        return json.loads(archive.text(name))
    except (ValueError, RecursionError) as error:
        raise FileError(archive.path, f"its {printable(name)} is no sound JSON", AGAIN) from error


def _writer(program: Any) -> str:
    version = program.get("torch_version") if isinstance(program, dict) else None
    return f"PyTorch {printable(version, 20)}" if isinstance(version, str) else "PyTorch 2 or later"


def _tensors(archive: Archive, folder: str, config: Any) -> Iterator[tuple[str, Tensor]]:
    try:
        for name, entry in config["config"].items():
            key, meta = entry["path_name"], entry["tensor_meta"]
            dtype = _DTYPES.get(meta["dtype"], f"of dtype {printable(meta['dtype'], 20)}")
            shape, strides = (tuple(n["as_int"] for n in meta[which]) for which in ("sizes", "strides"))
            offset = meta["storage_offset"]["as_int"]
            numbers = (*shape, *strides, offset)
            if len(shape) != len(strides) or len(shape) > 32 or not all(type(n) is int and n >= 0 for n in numbers):
                raise ValueError("a tensor without sound sizes")
            if entry["use_pickle"] or meta["layout"] != 7:  # Layout.Strided
                yield name, Tensor(dtype, shape, oddity="pickled" if entry["use_pickle"] else "not dense")
                continue
            if folder + key not in archive.members:
                raise FileError(archive.path, f"lacks {printable(folder + key)}, which holds {printable(name)}", AGAIN)
            count = archive.members[folder + key].file_size // (itemsize(dtype) or 1)
            yield name, Tensor(dtype, shape, strides, offset, Storage(key, dtype, count))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(archive.path, "its list of weights is not what torch.export writes", AGAIN) from error


def _facts(archive: Archive, program: Any) -> dict[str, Facts]:
    """What the nodes of the graph state of the layers whose weights they take, by the layers' prefixes."""
    found: dict[str, list[Facts]] = {}
    try:
        specs = program.get("graph_module", {}).get("signature", {}).get("input_specs", [])
        given = [spec["parameter"] for spec in specs if "parameter" in spec]
        names = {each["arg"]["name"]: each["parameter_name"] for each in given}
        for node in program.get("graph_module", {}).get("graph", {}).get("nodes", []):
            kind = node["target"].removeprefix("torch.ops.aten.").partition(".")[0]
            arguments = {each["name"]: each["arg"] for each in node["inputs"]}
            if kind in MODES and "params" in arguments:
                first = names.get(arguments["params"]["as_tensors"][0]["name"], "")
                stated: Facts = {
                    "mode": MODES[kind],
                    "bias": arguments["has_biases"]["as_bool"],
                    "num_layers": arguments["num_layers"]["as_int"],
                    "dropout": arguments["dropout"]["as_float"],
                    "bidirectional": arguments["bidirectional"]["as_bool"],
                }
                if "batch_first" in arguments:  # not for packed sequences
                    stated["batch_first"] = arguments["batch_first"]["as_bool"]
            elif kind.removesuffix("_cell") in MODES and "w_ih" in arguments:
                first = names.get(arguments["w_ih"]["as_tensor"]["name"], "")
                stated = cell_facts(kind.removesuffix("_cell"))
            else:
                continue
            if first:
                found.setdefault(first.rpartition(".")[0] + "." * ("." in first), []).append(stated)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise FileError(archive.path, "its graph is not what torch.export writes", AGAIN) from error
    return {prefix: all_[0] for prefix, all_ in found.items() if all(stated == all_[0] for stated in all_)}
