"""Every command as a user meets it: what is printed where, and the exit code."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
REFERENCE = ("--engine", "reference")


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def test_exit_codes(run: Run, fixtures: Path, tmp_path: Path) -> None:
    same = run("compare", fixtures / "simple_rnn.h5", fixtures / "rnn.pt", *REFERENCE)
    assert same.returncode == 0 and "IDENTICAL" in same.stdout and not same.stderr
    wrong = fixtures / "wrong" / "recurrent_transposed.pt"
    different = run("compare", fixtures / "rnn.pt", wrong, *REFERENCE)
    assert different.returncode == 1
    assert re.search(r"B-A +DIFFERENT", different.stdout) and "56 of 64 weights differ" in different.stdout
    missing = run("compare", fixtures / "rnn.pt", "nowhere.pt")
    assert missing.returncode == 2 and missing.stdout == ""
    assert missing.stderr == (
        "error: nowhere.pt: there is no such file; for a TensorFlow checkpoint give its prefix, without .index\n"
    )
    blind = tmp_path / "blind.npz"
    import numpy as np

    np.savez(blind, x=np.zeros((1, 4, 5), np.float32), y=np.zeros((1, 4, 8), np.float32))
    inconclusive = run("compare", blind, blind)
    assert inconclusive.returncode == 3 and "INCONCLUSIVE" in inconclusive.stdout


@pytest.mark.parametrize("name", ["truncated.h5", "empty.pt", "hostile.pt", "nan.pt"])
def test_bad_files_are_one_sentence(run: Run, fixtures: Path, tmp_path: Path, name: str) -> None:
    for command in (["compare", fixtures / "rnn.pt", fixtures / "bad" / name], ["inspect", fixtures / "bad" / name]):
        result = run(*command)
        assert result.returncode == 2
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1 and name in result.stderr
        assert "Traceback" not in result.stderr and result.stdout == ""
    assert list(tmp_path.iterdir()) == []  # nothing ran, nothing was left behind


def test_bad_options_are_one_sentence(run: Run, fixtures: Path) -> None:
    model = fixtures / "rnn.pt"
    for arguments, said in [
        (["--steps", "0"], "--steps 0: at least 1 is needed"),
        (["--activation", "thanh"], "--activation thanh: known are tanh, relu"),
        (["--activation", "C=relu"], "--activation C=relu: the sides are A, B"),
        (["--lengths", "5,x"], "--lengths 5,x: wanted whole numbers of steps, such as 5,12,32"),
        (["--lengths", "33"], "--lengths 33: wanted lengths from 1 to the 32 of --steps"),
        (["--inputs", "nowhere.npy"], "nowhere.npy: is no file of inputs"),
        (["--atol", "-1"], "--atol -1: a tolerance is a number from 0 up"),
        (["--timeout", "0"], "--timeout 0: wanted a number of seconds above 0"),
    ]:
        result = run("compare", model, model, *arguments)
        assert (result.returncode, result.stdout) == (2, ""), arguments
        assert said in result.stderr and result.stderr.count("\n") == 1


def test_json_is_written_whether_or_not_the_comparison_could_be_made(run: Run, fixtures: Path, tmp_path: Path) -> None:
    files = (fixtures / "simple_rnn.h5", fixtures / "wrong" / "bias_hh_dropped.pt")
    result = run("compare", *files, *REFERENCE, "--format", "json", "-o", "result.json")
    assert result.returncode == 1 and result.stdout == ""
    report = json.loads((tmp_path / "result.json").read_text(), parse_constant=no_constant)
    assert (report["schema"], report["verdict"], report["exit_code"]) == (1, "DIFFERENT", 1)
    assert report["pairs"][0]["headline"]["deviation"]["max_abs"] > 0.1
    assert report["sides"][1]["assumptions"]
    failed = run("compare", files[0], fixtures / "bad" / "nan.pt", "--format", "json")
    report = json.loads(failed.stdout, parse_constant=no_constant)
    assert failed.returncode == 2 and report["verdict"] == "ERROR" and "nan.pt" in report["error"]["message"]
    assert not list(tmp_path.glob("*.partial"))


def test_the_command_of_a_witness_can_be_pasted(run: Run, fixtures: Path, tmp_path: Path) -> None:
    (tmp_path / "a model.pt").write_bytes((fixtures / "rnn.pt").read_bytes())
    wrong = fixtures / "wrong" / "recurrent_transposed.pt"
    found = run("compare", "a model.pt", wrong, *REFERENCE, "--search", "--save-witness", "case.npz")
    assert found.returncode == 1 and (tmp_path / "case.npz").exists()
    assert "on the worst inputs found" in found.stdout
    program, *arguments = shlex.split(found.stdout.splitlines()[-1])
    again = run(*arguments)
    assert (program, again.returncode) == ("rnnverify", 1)
    announced = re.search(r"maximum\s+deviation\s+(\S+)\s+\(B-A\)", found.stdout)
    replayed = re.search(r"maximum deviation +(\S+)", again.stdout)
    assert announced and replayed and announced[1] == replayed[1]


def test_inspect_names_every_tensor(run: Run, fixtures: Path) -> None:
    result = run("inspect", fixtures / "stacked.keras")
    assert result.returncode == 0
    for said in ("Keras zip", "2 layers, 5 -> 6 -> 8, tanh", "layers/dense/vars/0", "layer 1 recurrent_kernel", "192"):
        assert said in result.stdout, said
    report = json.loads(run("inspect", fixtures / "rnn.pt", "--format", "json").stdout)
    assert report["parameter_counts"] == {"separate": 112, "concatenated": 112, "two biases": 120}
    assert {tensor["name"] for tensor in report["tensors"]} == {
        "weight_ih_l0",
        "weight_hh_l0",
        "bias_ih_l0",
        "bias_hh_l0",
    }


def test_several_parts_are_listed_ready_to_paste(run: Run, fixtures: Path) -> None:
    asked = run("inspect", fixtures / "two_parts.pt")
    assert asked.returncode == 2
    offered = re.findall(r"\S+two_parts\.pt#[\w+.]+", asked.stderr)
    assert len(offered) == 3
    for source in offered:
        assert run("inspect", source).returncode == 0, source


def test_run_and_compare_the_trace(run: Run, fixtures: Path, tmp_path: Path) -> None:
    recorded = run("run", fixtures / "rnn.pt", "-o", "trace.npz", *REFERENCE)
    assert recorded.returncode == 0 and (tmp_path / "trace.npz").exists()
    assert run("compare", "trace.npz", fixtures / "simple_rnn.h5", *REFERENCE).returncode == 0


def test_sizes_that_do_not_fit_are_one_sentence(run: Run, fixtures: Path) -> None:
    model = fixtures / "rnn.pt"
    for arguments in (["--steps", "100000000000"], ["--sequences", "9" * 22], ["--memory", "inf"], ["--memory", "nan"]):
        result = run("compare", model, model, *REFERENCE, *arguments)
        assert result.returncode == 2 and result.stderr.count("\n") == 1, arguments


def test_a_saved_result_is_judged_again(run: Run, fixtures: Path) -> None:
    files = (fixtures / "simple_rnn.h5", fixtures / "wrong" / "recurrent_transposed.pt")
    run("compare", *files, *REFERENCE, "--format", "json", "-o", "result.json")
    strict = run("judge", "result.json")
    assert strict.returncode == 1 and "DIFFERENT" in strict.stdout
    loose = run("judge", "result.json", "--atol", 10)
    assert loose.returncode == 0 and "CLOSE  beyond rounding, states within atol 10" in loose.stdout
    assert loose.stdout == run("compare", *files, *REFERENCE, "--atol", 10).stdout
    other = run("judge", fixtures / "rnn.pt")
    assert other.returncode == 2 and other.stderr.count("\n") == 1 and "rnn.pt" in other.stderr


def test_a_network_is_converted(run: Run, fixtures: Path, tmp_path: Path) -> None:
    quick = ("--steps", 6, "--sequences", 2, *REFERENCE)
    made = run("convert", fixtures / "stacked.keras", "out.npz", "--show-code", *quick)
    assert made.returncode == 0 and not made.stderr and [p.name for p in tmp_path.iterdir()] == ["out.npz"]
    for said in ("out.npz#lower+upper", "Dense 'head'", "upper.weight_ih_l0", "IDENTICAL", "lower.weight_hh_l0.copy_("):
        assert said in made.stdout, said
    again = run("convert", fixtures / "rnn.pt", "out.npz", *quick)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == (
        "error: out.npz: out.npz is there already; choose another place, or replace it with --force\n"
    )
    forced = run("convert", fixtures / "rnn.pt", "out.npz", "--force", "--format", "json", *quick)
    report = json.loads(forced.stdout, parse_constant=no_constant)
    assert (report["verdict"], report["exit_code"], report["files"]) == ("IDENTICAL", 0, ["out.npz"])
    assert report["comparison"]["pairs"][0]["candidate"] == "B"
    unnamed = run("convert", fixtures / "rnn.pt", "out", *quick)
    assert unnamed.returncode == 2 and "its suffix names no form; say which with --to" in unnamed.stderr


def test_a_wrong_port_is_written_again(run: Run, fixtures: Path, tmp_path: Path) -> None:
    wrong = fixtures / "wrong" / "recurrent_transposed.pt"
    arguments = (fixtures / "rnn.pt", wrong, *REFERENCE, "--no-probes")
    found = run("compare", *arguments, "--write-fixed", "fixed.pt", "--format", "json", "-o", "result.json")
    assert found.returncode == 1 and (tmp_path / "fixed.pt").exists()
    assert "Fixed  fixed.pt: the network of A as PyTorch state_dict" in run("judge", "result.json").stdout
    assert run("compare", fixtures / "rnn.pt", "fixed.pt", *REFERENCE, "--no-probes").returncode == 0
    refused = run("compare", *arguments, "--write-fixed", "fixed.pt")
    assert (refused.returncode, refused.stdout) == (2, "") and "fixed.pt is there already" in refused.stderr


@pytest.mark.parametrize("given", ["", "x", "1,2,3", "-1", "nan"])
def test_an_activation_error_is_one_or_two_numbers(run: Run, fixtures: Path, given: str) -> None:
    bad = run("compare", fixtures / "simple_rnn.h5", fixtures / "rnn.pt", f"--activation-error={given}")
    assert bad.returncode == 2 and bad.stderr.startswith("error: --activation-error")
