"""Mutations of what stands beside weights or around them: graphs, SavedModels, objects, archives of several files."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from random import Random

from fuzz_checkpoints import mutated_message, mutated_table
from fuzz_pickles import mutated_pickle
from fuzz_values import FIXTURES, Sample, fixture, mutated_bytes, mutated_json

_FROZEN = (
    *(f"graphs/{name}.pb" for name in ("clip", "reversed", "keras_both_ways", "scan", "partitioned", "mixed")),
    *(f"gates/{name}.pb" for name in ("all_of_lstm_flat", "static_lstm", "block", "fused_reversed", "mixed", "named")),
    *(f"gates/{name}.pb" for name in ("keras_gru_before_by_gate", "keras_lstm", "keras_layer_gru_both_ways")),
    *(f"heads/{name}.pb" for name in ("two_layers", "both_ways", "dropped", "static", "tied")),
    "exports/frozen_functions.pb",
)
_WITH_GRAPH = (
    "graphs/relu.ckpt",
    "gates/lstm.ckpt",
    "heads/training.ckpt",
    "genuine/tf-1.15.5/rnn_a_seqlen/model.ckpt",
    "genuine/tf-1.1.0/rnn_multi_v2/model.ckpt",
)
_SAVED = (
    "genuine/tf.keras-2.1.4/rnn_a_savedmodel/saved_model",
    "genuine/tf.keras-2.15.1/rnn_bi_savedmodel_nt/saved_model",
    "genuine/keras-3.15.1/rnn_a_export/exported",
    "exports/bare",
)
_OBJECTS = (
    "genuine/tf.keras-2.1.4/rnn_bi_tfweights/weights",
    "genuine/tf.keras-2.15.1/rnn_2l_nested_tfweights/weights",
    "genuine/tf.keras-2.15.1/rnn_emb_tfckpt/ckpt-1",
)
_DATA = ".data-00000-of-00001"


def frozen(rng: Random) -> Sample:
    return Sample("graph.pb", {"graph.pb": _message(rng, fixture(rng.choice(_FROZEN)))})


def meta(rng: Random) -> Sample:
    """A checkpoint as it is, with a graph beside it that is not."""
    name = rng.choice(_WITH_GRAPH)
    files = {f"model.ckpt{suffix}": fixture(name + suffix) for suffix in (".index", _DATA)}
    return Sample("model.ckpt.index", {**files, "model.ckpt.meta": _message(rng, fixture(f"{name}.meta"))})


def saved_model(rng: Random) -> Sample:
    folder = rng.choice(_SAVED)
    files = {
        path.relative_to(FIXTURES / folder).as_posix(): path.read_bytes()
        for path in sorted((FIXTURES / folder).rglob("*"))
        if path.is_file() and path.name != "fingerprint.pb"
    }
    name = rng.choice([name for name in files if name.endswith(".pb")])
    return Sample("saved_model.pb", {**files, name: _message(rng, files[name])})


def objects(rng: Random) -> Sample:
    """Weights of Keras in TensorFlow's form: the table, in which the graph of objects is one entry."""
    name = rng.choice(_OBJECTS)
    index = mutated_table(rng, f"{name}.index", fixture(f"{name}.index"))
    data = fixture(name + _DATA)
    if rng.random() < 0.7:  # the graph is a text in the data: its bytes change, and its length does not
        data = mutated_bytes(rng, data)[: len(data)].ljust(len(data), b"\0")
    return Sample("weights.index", {"weights.index": index, f"weights{_DATA}": data})


def shards(rng: Random) -> Sample:
    weights = fixture("rnn.safetensors")
    size = int.from_bytes(weights[:8], "little")
    names = [name for name in json.loads(weights[8 : 8 + size]) if name != "__metadata__"]
    index = {"metadata": {"total_size": len(weights)}, "weight_map": dict.fromkeys(names, "a.safetensors")}
    main = "model.safetensors.index.json"
    return Sample(main, {main: mutated_json(rng, json.dumps(index)), "a.safetensors": weights})


def architecture(rng: Random) -> Sample:
    """Weights of Keras with a model.json beside them."""
    folder = FIXTURES / Path("genuine/keras-0.3.3-theano")
    case = next(iter(sorted(path.parent for path in folder.rglob("*.json") if path.name != "case.json")))
    files = {p.name: p.read_bytes() for p in sorted(case.iterdir()) if p.name not in ("io.npz", "case.json")}
    (name,) = (name for name in files if name.endswith(".json"))
    files[name] = mutated_json(rng, files[name])
    return Sample(next(name for name in files if not name.endswith(".json")), files)


def torch_tar(rng: Random) -> Sample:
    """The tar of PyTorch before 0.2: its members hold pickles and raw numbers one after another."""
    legacy = fixture("rnn_legacy.pt")
    members = {
        "sys_info": b"\x80\x02}q\x00.",
        "pickle": mutated_pickle(rng, b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01\x85q\x02Rq\x03."),
        "tensors": mutated_bytes(rng, b"\x80\x02K\x01." + legacy[:200]),
        "storages": mutated_bytes(rng, b"\x80\x02K\x01." + legacy[:400]),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    data = buffer.getvalue()
    return Sample("model.pth.tar", {"model.pth.tar": mutated_bytes(rng, data) if rng.random() < 0.3 else data})


def _message(rng: Random, data: bytes) -> bytes:
    return mutated_message(rng, data) if rng.random() < 0.8 else mutated_bytes(rng, data)
