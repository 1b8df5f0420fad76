"""The cases of a corpus: a folder `<framework>-<version>/<case>` with a case.json, a model and its recorded outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

_SUBMODEL = re.compile(r"(\w+) (\d+)->(\d+) (\w+)(?: \(reads (\w+)\))?$")


@dataclass(frozen=True)
class Submodel:
    """One of several recurrent layers of a model, as case.json words it: `dec 8->6 relu (reads enc)`."""

    name: str
    inputs: int
    outputs: int
    activation: str
    reads: str  # the submodel whose outputs it reads; empty: the model's input


@dataclass(frozen=True)
class Case:
    """One folder of the corpus."""

    id: str  # "keras-2.2.4/rnn_a_h5"
    folder: Path
    facts: Mapping[str, Any]  # case.json

    @property
    def version(self) -> str:
        return self.id.partition("/")[0]

    @property
    def path(self) -> Path:
        return self.folder / str(self.facts["main_file"])

    @property
    def must_load(self) -> bool:
        """Whether the corpus says that a tool should read it without asking."""
        return self.facts["expect"] in ("load", "load_numerically_sensitive")

    @property
    def submodels(self) -> tuple[Submodel, ...]:
        found = [_SUBMODEL.match(text) for text in self.facts.get("submodels") or ()]
        return tuple(Submodel(m[1], int(m[2]), int(m[3]), m[4], m[5] or "") for m in found if m)


def find(root: Path, pattern: str) -> tuple[list[Case], list[Case], list[Case]]:
    """The genuine cases, the pairs of mutants, and the bad files under `root` whose id matches `pattern`.

    A pattern is one of the shell (`keras-2.*`, `*/rnn_bi*`), or a part of the id.
    """
    cases = []
    for file in sorted(root.glob("*/*/case.json")):
        name = f"{file.parent.parent.name}/{file.parent.name}"
        if not pattern or pattern in name or fnmatch(name, pattern):
            cases.append(Case(name, file.parent, json.loads(file.read_text(encoding="utf-8"))))
    mutants = [case for case in cases if case.version == "mutants"]
    bad = [case for case in cases if case.version == "bad"]
    return [case for case in cases if case.version not in ("mutants", "bad")], mutants, bad
