"""Witnesses of whole comparisons: written, replayed to the very number, or refused with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from observed import BATCHES, NETWORK, model, shifted, with_states
from safetensors.numpy import load_file, save_file

import rnnverify
from rnnverify.adequacy import Examiner
from rnnverify.assumptions import Assumed
from rnnverify.comparison import Comparison, Witness
from rnnverify.deviation import Tolerance
from rnnverify.errors import OutputError
from rnnverify.inputs import InputOptions
from rnnverify.judge import judge
from rnnverify.observed import Observed
from rnnverify.options import Options
from rnnverify.witness import Asked, save_witness

REFERENCE = Options(engine="reference")


@pytest.fixture
def wrong(fixtures: Path, tmp_path: Path) -> Path:
    """A port with one recurrent weight off by 0.01."""
    tensors = {name: np.array(array) for name, array in load_file(fixtures / "rnn.safetensors").items()}
    tensors["weight_hh_l0"][2, 5] += np.float32(0.01)
    save_file(tensors, tmp_path / "wrong.safetensors")
    return tmp_path / "wrong.safetensors"


def witness_of(result: Comparison) -> Witness:
    assert result.witness is not None
    return result.witness


def replayed(found: Witness, options: Options = REFERENCE) -> Comparison:
    """What the command gives: its sources, on the inputs that it names."""
    sources = list(found.command[2:])
    inputs = None
    if "--inputs" in sources:
        inputs = Path(sources.pop(sources.index("--inputs") + 1))
    names = sources[: next(k for k, source in enumerate([*sources, "--"]) if source.startswith("--"))]
    return rnnverify.compare(*names, options=replace(options, inputs=InputOptions(file=inputs), save_witness=None))


def test_a_replay_gives_the_announced_number(fixtures: Path, wrong: Path, tmp_path: Path) -> None:
    path = tmp_path / "case.npz"
    result = rnnverify.compare(fixtures / "rnn.pt", wrong, options=Options(save_witness=path))
    found = witness_of(result)
    assert (found.path, found.pair) == (str(path), "B-A")
    assert found.note == "1 sequence of 2 steps, all inputs zero, from zero states"
    assert found.command == ("rnnverify", "compare", str(fixtures / "rnn.pt"), str(wrong), "--inputs", str(path))
    again = replayed(found, Options())
    assert again.verdict == "DIFFERENT" and again.sides[0].engine == "native"
    assert again.pairs[0].headline.deviation.max_abs == found.deviation
    assert again.pairs[0].headline.deviation.at[0] == 0 and not all(b and b.holds for b in again.pairs[0].budgets)
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_every_wrong_port_has_a_witness(fixtures: Path, tmp_path: Path) -> None:
    for wrong in sorted((fixtures / "wrong").iterdir()):
        path = tmp_path / f"{wrong.name}.npz"
        options = replace(REFERENCE, save_witness=path)
        found = witness_of(rnnverify.compare(fixtures / "simple_rnn.keras", wrong, options=options))
        assert path.exists() and found.deviation is not None and found.deviation > 1e-5, wrong.name
        again = replayed(found)
        assert (again.verdict, again.pairs[0].headline.deviation.max_abs) == ("DIFFERENT", found.deviation), wrong.name


def test_the_first_pair_that_differs_is_taken(fixtures: Path, wrong: Path, tmp_path: Path) -> None:
    path = tmp_path / "case.npz"
    sides = (fixtures / "rnn.pt", fixtures / "rnn_legacy.pt", wrong)
    found = witness_of(rnnverify.compare(*sides, options=replace(REFERENCE, save_witness=path)))
    assert found.pair == "C-A"
    again = replayed(found)
    assert again.pairs[0].verdict == "INCONCLUSIVE"  # so small a case cannot show the activation, which is assumed
    assert again.pairs[1].verdict == "DIFFERENT"
    assert again.pairs[1].headline.deviation.max_abs == found.deviation


@pytest.mark.parametrize("turned", [False, True])
def test_a_recording_is_cut(fixtures: Path, wrong: Path, tmp_path: Path, turned: bool) -> None:
    trace, path = tmp_path / "trace.npz", tmp_path / "case.npz"
    rnnverify.run(wrong, trace, REFERENCE)
    sides = [fixtures / "rnn.pt", trace]
    options = replace(REFERENCE, save_witness=path)
    found = witness_of(rnnverify.compare(*(sides[::-1] if turned else sides), options=options))
    assert found.note.endswith(f" of the recording {'A' if turned else 'B'}") and "2 steps of sequence" in found.note
    assert str(path) in found.command and str(trace) not in found.command
    assert np.load(path)["x"].shape == (1, 2, 5)
    again = replayed(found)
    assert (again.verdict, again.pairs[0].headline.deviation.max_abs) == ("DIFFERENT", found.deviation)


def test_a_recording_that_differs_from_its_own_states_only(fixtures: Path, tmp_path: Path) -> None:
    trace, path = tmp_path / "trace.npz", tmp_path / "case.npz"
    rnnverify.run(fixtures / "rnn.pt", trace, REFERENCE)
    arrays = dict(np.load(trace))
    arrays["y_from_h0"][3, 4, 1] += 0.1
    np.savez(trace, **arrays)
    found = witness_of(rnnverify.compare(fixtures / "rnn.pt", trace, options=replace(REFERENCE, save_witness=path)))
    assert "5 steps of sequence 3" in found.note
    assert set(np.load(path)) >= {"x", "y", "y_from_h0"} and np.load(path)["y_from_h0"].shape == (1, 5, 8)
    assert replayed(found).pairs[0].headline.deviation.max_abs == found.deviation


def test_where_there_is_none_nothing_is_written(fixtures: Path, wrong: Path, tmp_path: Path) -> None:
    trace, other = tmp_path / "trace.npz", tmp_path / "other.npz"
    rnnverify.run(wrong, trace, REFERENCE)
    rnnverify.run(fixtures / "rnn.pt", other, REFERENCE)
    tensors = {name: np.array(array) for name, array in load_file(fixtures / "rnn.safetensors").items()}
    tensors["weight_hh_l0"][2, 5] *= np.float32(1 + 2e-7)
    save_file(tensors, tmp_path / "hair.safetensors")
    model = fixtures / "rnn.pt"
    for sides, said in (
        ((model, fixtures / "rnn_legacy.pt"), "no pair is DIFFERENT"),
        ((other, trace), "both sides of B-A are recordings"),
        ((model, trace, fixtures / "rnn_legacy.pt"), "B cannot be run again; compare A and B alone"),
        ((model, tmp_path / "hair.safetensors"), "show no difference of the states beyond rounding; try --search"),
    ):
        options = replace(REFERENCE, save_witness=tmp_path / "case.npz")
        found = witness_of(rnnverify.compare(*sides, options=options))
        assert said in found.note and not found.command and found.deviation is None
        assert not (tmp_path / "case.npz").exists()


def test_a_witness_exceeds_the_tolerance_of_the_user(fixtures: Path, wrong: Path, tmp_path: Path) -> None:
    options = replace(REFERENCE, tolerance=Tolerance(atol=3e-3), save_witness=tmp_path / "case.npz")
    found = witness_of(rnnverify.compare(fixtures / "rnn.pt", wrong, options=options))
    assert found.deviation is not None and found.deviation > 3e-3
    assert found.command[-2:] == ("--atol", "0.003")
    assert replayed(found, options).verdict == "DIFFERENT"


def test_a_search_may_be_what_finds_it(fixtures: Path, tmp_path: Path) -> None:
    tensors = {name: np.array(array) for name, array in load_file(fixtures / "rnn.safetensors").items()}
    tensors["weight_ih_l0"][2, 3] += np.float32(1e-3)
    save_file(tensors, tmp_path / "wrong.safetensors")
    np.save(tmp_path / "x.npy", np.eye(5, dtype=np.float32)[:1, None] * np.ones((1, 3, 1), np.float32))  # not feature 3
    made = InputOptions(file=tmp_path / "x.npy", probes=False)
    options = replace(REFERENCE, inputs=made, save_witness=tmp_path / "case.npz")
    sides = (fixtures / "rnn.pt", tmp_path / "wrong.safetensors")
    assert "try --search" in witness_of(rnnverify.compare(*sides, options=options)).note
    result = rnnverify.compare(*sides, options=replace(options, search=True))
    found, searched = witness_of(result), result.pairs[0].searched
    assert searched and searched.random == 0 and searched.found and searched.found > 1e-4
    assert "1 of 5 inputs not zero" in found.note and "--no-probes" in found.command
    assert replayed(found, options).pairs[0].headline.deviation.max_abs == found.deviation


def test_a_place_that_cannot_be_written_is_named(fixtures: Path, wrong: Path, tmp_path: Path) -> None:
    options = replace(REFERENCE, save_witness=tmp_path / "no" / "case.npz")
    with pytest.raises(OutputError, match=r"case\.npz: cannot be written .*--save-witness"):
        rnnverify.compare(fixtures / "rnn.pt", wrong, options=options)


def test_the_command_repeats_the_options_that_matter() -> None:
    assumed = Assumed(("B=relu",), ("sum",), ("B",))
    asked = Asked(Path("case.npz"), ("-a.h5", "b.pt"), assumed, Tolerance(1e-3, 0.01), "reference", probes=False)
    assert " ".join(asked.command(asked.sources, inputs=True)) == (
        "rnnverify compare --inputs case.npz --activation B=relu --merge-mode sum --go-backwards B --engine reference "
        "--no-probes --atol 0.001 --rtol 0.01 -- -a.h5 b.pt"
    )
    plain = Asked(Path("case.npz"), ("a.h5", "b.pt"), Assumed(), Tolerance(), "auto", probes=True)
    assert plain.command(("a.h5", "case.npz"), inputs=False) == ("rnnverify", "compare", "a.h5", "case.npz")


def broken(at: tuple[int, int, int]) -> list[Observed]:
    """Two sides of one network, the second of which a faulty framework ran: references do not differ."""
    return [model("A", NETWORK), with_states(model("B", NETWORK), shifted(0.1, at))]


def result_of(sides: list[Observed]) -> Comparison:
    pair = judge(sides[0], sides[1], Examiner(BATCHES), Tolerance())
    return Comparison(pair.verdict, (), (pair,), ((0.0,),), {})


ASKED = Asked(Path("case.npz"), ("a.h5", "b.pt"), Assumed(), Tolerance(), "auto", probes=True)


@pytest.mark.parametrize("shown_from", [1, 3, 6])
def test_what_a_framework_does_wrong_is_cut_as_far_as_it_shows(tmp_path: Path, shown_from: int) -> None:
    sides = broken((1, 2, 3))
    same, different = result_of([sides[0], model("B", NETWORK)]), result_of(sides)
    tried: list[int] = []

    def replay(sources: Sequence[str], inputs: Path | None) -> Comparison:
        assert inputs is not None and tuple(sources) == ASKED.sources
        x = np.load(inputs)["x"]
        assert np.array_equal(x, BATCHES[0].x[1:2, : x.shape[1]])
        tried.append(x.shape[1])
        return different if x.shape[1] >= shown_from else same

    path = tmp_path / "case.npz"
    found = save_witness(replace(ASKED, path=path), different, sides, replay)
    if shown_from == 6:
        assert tried == [3, 5] and not path.exists()
        assert found.note == "no witness was written: sequence 1 does not fail where it is run by itself"
    else:
        assert tried == [3] and found.note.startswith("1 sequence of 3 steps") and np.load(path)["x"].shape[1] == 3
        assert found.deviation == different.pairs[0].headline.deviation.max_abs


def test_a_deviation_that_is_no_number_is_announced_as_such(tmp_path: Path) -> None:
    sides = [model("A", NETWORK), with_states(model("B", NETWORK), shifted(np.nan))]
    different = result_of(sides)
    found = save_witness(replace(ASKED, path=tmp_path / "case.npz"), different, sides, lambda *_: different)
    assert found.deviation is not None and np.isnan(found.deviation)
