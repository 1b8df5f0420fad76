"""The Embedding before the recurrent layers of a Keras file, and the Dense layers behind them.

A full model says which layer feeds which: an Embedding whose outputs the first recurrent layer reads, past layers that
hand sequences on as they are, and Dense, TimeDistributed(Dense), Activation and Softmax behind the last one, up to the
first layer that is none of these. A file of weights has shapes, and before Keras 3 the order of the model.

Weights by rank: Dense has a kernel (F, O) and mostly a bias (O,), Embedding a table (V, E) (keras/layers/core.py and
embeddings.py, 0.3 to 2.15; keras/src/layers/core/dense.py and embedding.py, 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rnnverify.adapters.keras.cells import CellReader, Config
from rnnverify.adapters.keras.config import Address, Placed
from rnnverify.adapters.keras.layers import built_in
from rnnverify.adapters.keras.listed import Listed, layers_in
from rnnverify.adapters.keras.parts import Stack, Survey
from rnnverify.adapters.keras.told import keras_version
from rnnverify.adapters.surroundings import Names, Surroundings, only_chain, surroundings
from rnnverify.containers.contents import Contents
from rnnverify.errors import UnsupportedError, printable

_DENSE = ("Dense", "TimeDistributedDense")  # the latter up to Keras 1


def find(
    contents: Contents, survey: Survey, stack: Stack, sizes: tuple[int, int]
) -> tuple[Surroundings, frozenset[Address]]:
    """What stands around `stack`, whose input and output sizes are `sizes`, and which layers of the file that is."""
    if survey.placed:
        table, chain, more = _of_model(contents, survey.placed, stack)
    else:
        (table, chain), more = _of_weights(contents, stack, sizes), {}
    names = [each for _, each in chain]
    found = surroundings(contents.tensors, table[1] if table else None, names, *sizes, by_shape=not survey.placed)
    taken = {path for path, each in [*([table] if table else []), *chain] if each.kernel in found.roles}
    table_layer = next((layer for layer in survey.placed if table and layer.path == table[0]), None)
    if table_layer and table_layer.config.get("mask_zero") and found.around.embedding:
        masking = replace(found.around.embedding, masks_zero=True)
        found = replace(found, around=replace(found.around, embedding=masking))
    if found.around.head and not stack[-1].return_sequences:
        found = replace(found, around=replace(found.around, reads_final=True))
    return found, frozenset(taken | {path for path, dense in more.items() if dense in taken})


Found = tuple[tuple[Address, Names] | None, list[tuple[Address, Names]]]


def _of_model(
    contents: Contents, placed: Sequence[Placed], stack: Stack
) -> tuple[tuple[Address, Names] | None, list[tuple[Address, Names]], dict[Address, Address]]:
    """The embedding, the dense layers, and activations that are layers of their own, by the dense layer before."""
    by_path = {layer.path: layer for layer in placed}
    table = _embedding(contents, by_path, by_path[stack[0].path])
    chain: list[tuple[Address, Names]] = []
    more: dict[Address, Address] = {}
    current = by_path[stack[-1].path]
    while (reader := _reader(placed, current)) and not stack[-1].apart:
        current = reader
        if reader.passes_through:
            continue
        activation = _activation(contents, reader)
        if reader.own_class and reader.class_name in ("Activation", "Softmax"):
            if not chain or chain[-1][1].activation != "linear" or not activation:
                break
            chain[-1] = (chain[-1][0], replace(chain[-1][1], activation=activation))
            more[reader.path] = chain[-1][0]
            continue
        names = _dense(contents, reader, activation)
        if names is None:
            break
        chain.append((reader.path, names))
    return table, chain, more


def _embedding(contents: Contents, by_path: Mapping[Address, Placed], layer: Placed) -> tuple[Address, Names] | None:
    climbed = 0
    while len(layer.feeds) == 1 and layer.feeds[0][1] == 0 and layer.feeds[0][0] in by_path and climbed < len(by_path):
        layer, climbed = by_path[layer.feeds[0][0]], climbed + 1
        if layer.own_class and layer.class_name == "Embedding":
            names = _by_rank(contents, layer.path[-1], _tensors(contents, layer))
            return (layer.path, names) if names and not names.bias else None
        if not layer.passes_through:
            return None
    return None


def _reader(placed: Sequence[Placed], layer: Placed) -> Placed | None:
    """The only layer that reads the outputs of `layer`, and reads nothing else."""
    readers = [each for each in placed if any(source == layer.path for source, _ in each.feeds)]
    alone = len(readers) == 1 and len(readers[0].feeds) == 1 and not readers[0].states
    return readers[0] if alone else None


def _dense(contents: Contents, layer: Placed, activation: str) -> Names | None:
    if not layer.own_class or not activation or _config_of(layer) is None:
        return None
    names = _by_rank(contents, layer.path[-1], _tensors(contents, layer))
    return replace(names, activation=activation, stated=True) if names else None


def _config_of(layer: Placed) -> Config | None:
    """The configuration of a Dense, which may be inside a TimeDistributed; None for any other layer."""
    if layer.class_name in _DENSE:
        return layer.config
    inner = layer.config.get("layer")
    if layer.class_name != "TimeDistributed" or not isinstance(inner, dict) or not built_in(inner):
        return None
    config = inner.get("config")
    return config if inner.get("class_name") == "Dense" and isinstance(config, dict) else None


def _activation(contents: Contents, layer: Placed) -> str:
    """What a Dense, an Activation or a Softmax computes; empty where that is not compared."""
    if layer.class_name == "Softmax":
        return "softmax" if layer.config.get("axis", -1) == -1 else ""
    config = layer.config if layer.class_name == "Activation" else _config_of(layer)
    stored = config.get("activation") if config is not None else ""
    if stored == "softmax" or (isinstance(stored, dict) and stored.get("config") == "softmax" and built_in(stored)):
        return "softmax"
    try:
        return CellReader(contents.path, keras_version(contents)).activation(stored, layer.title)
    except UnsupportedError:
        return ""


def _tensors(contents: Contents, layer: Placed) -> list[str]:
    """The names of the weights of `layer`."""
    listed = contents.metadata.get("layer_weights")
    if isinstance(listed, dict):
        names = listed.get(layer.path[0], [])
        return [name for name in names if len(layer.path) == 1 or layer.path[-1] in name.split("/")[1:]]
    group = f"{layer.group}/layer" if layer.class_name == "TimeDistributed" else layer.group
    return [name for name in contents.tensors if name.startswith(f"{group}/vars/")]


def _by_rank(contents: Contents, layer: str, names: Iterable[str]) -> Names | None:
    """One matrix, and at most one vector beside it; None where there are others."""
    stored = {name: contents.tensors[name].shape if name in contents.tensors else () for name in names}
    kernels = [name for name, shape in stored.items() if len(shape) == 2]
    biases = [name for name, shape in stored.items() if len(shape) == 1]
    if len(kernels) != 1 or len(biases) > 1 or len(stored) != len(kernels) + len(biases):
        return None
    return Names(printable(layer), kernels[0], biases[0] if biases else "", stated=False)


def _of_weights(contents: Contents, stack: Stack, sizes: tuple[int, int]) -> Found:
    """By the shapes of all other weights of the file; nothing where one of them is of another layer."""
    chosen = {layer.path for layer in stack}
    ordered = isinstance(contents.metadata.get("layer_weights"), dict)
    tables: list[tuple[Address, Names]] = []
    dense: list[tuple[Address, Names]] = []
    above = False  # whether the layers that follow in the file are behind the recurrent ones
    for listed in layers_in(contents):
        if listed.path in chosen:
            above = True
            continue
        names = _by_rank(contents, listed.path[-1], listed.tensors)
        if listed.cells or names is None:
            return None, []
        (tables if _is_table(listed, names, ordered, above) else dense).append((listed.path, names))
    order = [names for _, names in dense]
    chain = order if ordered else only_chain(contents.tensors, order, sizes[1])
    by_kernel = {names.kernel: path for path, names in dense}
    if len(tables) > 1 or len(chain) != len(dense):
        return None, []
    return (tables[0] if tables else None), [(by_kernel[names.kernel], names) for names in chain]


def _is_table(listed: Listed, names: Names, ordered: bool, above: bool) -> bool:
    """Whether a matrix without bias is an embedding: by the order of the model, or by the class in a group's name."""
    if names.bias:
        return False
    return not above if ordered else "embedding" in listed.group
