"""From every layout to every other one: the lines are run as they are, and make the network of the other file."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from in_every_layout import SHAPES, after, network, opened, written

from rnnverify.canonical import Network
from rnnverify.errors import RnnverifyError
from rnnverify.finding import Finding
from rnnverify.porting.assembly import PARTS
from rnnverify.porting.fix_code import with_code
from rnnverify.sides import Opened
from rnnverify.weights import compare_weights

GENUINE = Path(__file__).parents[2] / "fixtures"
CELLS = {"rnn": {}, "lstm": {}, "gru": {}, "gru, reset before": {"reset_after": False}}


def coded(right: Opened, wrong: Opened) -> Finding:
    """The lines that set every tensor of the network of `wrong`."""
    assert wrong.network
    tensors = tuple(f"{where} {part}" for where, _, _ in wrong.network.directions() for part in PARTS)
    finding = Finding("a mistake", "Undo it.", "certain", 1.0, 0.0, "", "B", tensors)
    return with_code((finding,), ("A", "B"), {"A": right, "B": wrong})[0]


def comments(found: Finding) -> tuple[str, ...]:
    return tuple(line for line in found.code if line.startswith("#") and "[name]" not in line)


def differing(wanted: Network | None, found: Network) -> list[str]:
    assert wanted
    return [tensor.name for tensor in compare_weights(wanted, found)[0] if tensor.differing]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """The right networks, and those whose tensors are set, in every layout that has them."""
    networks = {
        f"{cell}, {shape}, {seed}": network(cell[:4].strip(", "), shape, seed, **gating)  # type: ignore[arg-type]
        for cell, gating in CELLS.items()
        for shape in SHAPES
        for seed in (1, 2)
    }
    return written(networks, tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_the_lines_make_the_network_of_the_other_file(cell: str, shape: str, files: dict[tuple[str, str], str]) -> None:
    rights, wrongs = (
        {layout: opened(source) for (name, layout), source in files.items() if name == f"{cell}, {shape}, {seed}"}
        for seed in (1, 2)
    )
    wanted = {"rnn": 6, "lstm": 7, "gru": 6, "gru, reset before": 3}[cell]
    assert len(rights) == len(wrongs) == wanted
    for (one, right), (other, wrong) in itertools.product(rights.items(), wrongs.items()):
        found = coded(right, wrong)
        assert wrong.reading and set(found.names) == set(wrong.reading.roles), (one, other)
        made = after(found.code, right, wrong)
        if (cell, other) == ("gru", "nnx") and one != "nnx":
            (said,) = set(comments(found)) if shape == "single" else {comments(found)[0]}
            assert said == "# layer 0: its cell has no second bias of the candidate, and one bias cannot stand for both"
            assert {name.partition("bias")[1] for name in differing(right.network, made)} == {"bias"}
        else:
            assert not comments(found), (one, other)
            assert not differing(right.network, made), (one, other)


def genuine() -> Iterator[Opened]:
    """Every file of the fixtures that holds one network, as the frameworks of their time wrote them."""
    for path in sorted({path.with_suffix("") if path.suffix == ".index" else path for path in GENUINE.rglob("*")}):
        if not {"bad", "wrong", "inputs.npy", "io.npz"} & set(path.parts) and "data-0" not in path.name:
            try:
                side = opened(path)
            except RnnverifyError:
                continue
            if not side.contents:
                continue
            narrow = {"float16", "bfloat16"} & {tensor.dtype for tensor in side.contents.tensors.values()}
            if not narrow:  # which the numbers of another file do not go into
                yield side


def test_the_lines_between_genuine_files() -> None:
    by_size = defaultdict(list)
    for side in genuine():
        assert side.network
        sizes = [(y.cell, y.input_size, y.hidden_size, y.state_size, len(y.directions)) for y in side.network.layers]
        by_size[str(sizes)].append(side)
    pairs, said = 0, set()
    for sides in by_size.values():
        for k, wrong in itertools.product(range(1, min(4, len(sides))), sides):
            right = sides[sides.index(wrong) - k]
            assert right.reading and wrong.reading and wrong.network
            found = coded(right, replace(wrong, source=replace(wrong.source, label="B")))
            said |= {line.partition(": ")[2] or line for line in comments(found)}
            if comments(found) or not found.code:
                continue
            made = after(found.code, right, wrong)
            assert not differing(right.network, made), (right.source.path, wrong.source.path)
            pairs += 1
    print(pairs, said, {k: len(v) for k, v in by_size.items()})
    assert pairs > 100
