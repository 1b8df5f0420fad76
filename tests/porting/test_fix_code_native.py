"""The lines run in each framework, on the model that its own loader makes: what it saves then is the right network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from in_every_layout import arrays_of, network, opened, written
from test_lines_of_every_pair import coded, comments

import rnnverify
from rnnverify.canonical import CellKind
from rnnverify.inputs import InputOptions
from rnnverify.options import Options

QUICK = Options(inputs=InputOptions(sequences=2, steps=5, probes=False), engine="reference")
CELLS: tuple[CellKind, ...] = ("gru", "lstm")

# each case: the arrays of the right file in A, the wrong file, the lines, and where what they make of it is saved
START = """
import json, os, sys
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np
for case in json.load(open(sys.argv[1])):
    names = {"A": dict(np.load(case["right"])), "np": np}
"""

IN: dict[str, str] = {
    "torch": """
    import torch
    names |= {"torch": torch, "state_dict": torch.load(case["wrong"])}
    exec(case["code"], names)
    rnn = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[case["cell"]](3, 4, bidirectional=True)
    rnn.load_state_dict(names["state_dict"])
    torch.save(rnn.state_dict(), case["made"])
""",
    "keras": """
    import keras
    names["model"] = keras.saving.load_model(case["wrong"], compile=False)
    exec(case["code"], names)
    names["model"].save(case["made"])
""",
    "tensorflow": """
    import tensorflow as tf
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        saver = v1.train.import_meta_graph(case["wrong"] + ".meta")
        saver.restore(session, case["wrong"])
        names |= {"session": session, "variables": {v.op.name: v for v in v1.global_variables()}}
        exec(case["code"], names)
        saver.save(session, case["made"], write_state=False)
""",
    "onnx": """
    import onnx
    from onnx import numpy_helper
    model = onnx.load(case["wrong"])
    names["tensors"] = {t.name: numpy_helper.to_array(t).copy() for t in model.graph.initializer}
    exec(case["code"], names)
    for t in model.graph.initializer:
        t.CopyFrom(numpy_helper.from_array(names["tensors"][t.name], t.name))
    onnx.save(model, case["made"])
""",
    "linen": """
    import flax
    tree = flax.serialization.msgpack_restore(open(case["wrong"], "rb").read())
    names["flat"] = flax.traverse_util.flatten_dict(tree, sep="/")
    exec(case["code"], names)
    tree = flax.traverse_util.unflatten_dict(names["flat"], sep="/")
    open(case["made"], "wb").write(flax.serialization.to_bytes(tree))
""",
    "equinox": """
    import equinox, jax
    cell = {"gru": equinox.nn.GRUCell, "lstm": equinox.nn.LSTMCell}[case["cell"]]
    model = [cell(3, 4, key=jax.random.PRNGKey(k)) for k in (0, 1)]
    model = equinox.tree_deserialise_leaves(case["wrong"], model)
    arrays, rest = equinox.partition(model, equinox.is_array_like)
    names["leaves"], tree = jax.tree_util.tree_flatten(arrays)
    shapes = [(leaf.shape, leaf.dtype) for leaf in names["leaves"]]
    exec(case["code"], names)
    assert [(leaf.shape, leaf.dtype) for leaf in names["leaves"]] == shapes
    model = equinox.combine(jax.tree_util.tree_unflatten(tree, names["leaves"]), rest)
    equinox.tree_serialise_leaves(case["made"], model)
""",
}
"""What a user of each framework has around the lines."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    networks = {f"{cell}{seed}": network(cell, "both ways", seed) for cell in CELLS for seed in (1, 2)}
    before = {f"before{seed}": network("gru", "both ways", seed, reset_after=False) for seed in (1, 2)}
    return written(networks | before, tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize("framework", IN)
def test_the_lines_make_the_model_right(framework: str, files: dict[tuple[str, str], str], tmp_path: Path) -> None:
    cases: list[dict[str, str]] = []
    sources = []
    for (name, layout), source in files.items():
        wrong = files.get((f"{name[:-1]}2", framework))
        if not name.endswith("1") or layout == framework or not wrong:
            continue
        right, other = opened(source), opened(wrong, "B")
        found = coded(right, other)
        assert found.code and not comments(found)
        np.savez(tmp_path / f"{len(cases)}.npz", **arrays_of(right))  # type: ignore[arg-type]  # names as they are
        path = str(other.source.path)
        made = tmp_path / f"{len(cases)}-made{path[path.rindex('.') :]}"
        cell = "lstm" if name.startswith("lstm") else "gru"
        code = "\n".join(found.code)
        cases.append({"right": str(tmp_path / f"{len(cases)}.npz"), "wrong": path, "made": str(made), "cell": cell})
        cases[-1]["code"] = code
        sources.append((source, wrong.replace(path, str(made))))
    assert len(cases) > 6
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, "-c", START + IN[framework], str(tmp_path / "cases.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for right_file, made_file in sources:
        result = rnnverify.compare(right_file, made_file, options=QUICK)
        assert result.verdict in ("IDENTICAL", "EQUIVALENT"), (right_file, made_file, result.pairs[0].reasons)
