"""How a comparison is made: every choice that is not a side."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from rnnverify.assumptions import Assumed
from rnnverify.deviation import Tolerance
from rnnverify.errors import OptionError
from rnnverify.inputs import InputOptions
from rnnverify.interpreters import check_pythons
from rnnverify.precision import DtypeName
from rnnverify.runner_process import Limits
from rnnverify.step import Allowed

Engine = Literal["auto", "native", "reference"]


@dataclass(frozen=True)
class Options:
    """How a comparison is made."""

    inputs: InputOptions = field(default_factory=InputOptions)
    tolerance: Tolerance = field(default_factory=Tolerance)
    assumed: Assumed = field(default_factory=Assumed)
    engine: Engine = "auto"
    limits: Limits = field(default_factory=Limits)
    dtype: DtypeName | None = None  # to run the sides in; None: what their weights are stored in
    activation_error: Allowed | None = None  # what an activation may be off; None: what was measured of it
    up_to_symmetry: bool = False  # whether the order, sign and scale of hidden units are free
    whole_model: bool = True  # whether embeddings and dense layers around are compared, where every side has them
    trust: tuple[str, ...] = ()  # labels of sides whose files their frameworks may load in unsafe modes
    search: bool = False  # for the worst inputs, by gradient
    save_witness: Path | None = None  # where the smallest case of a difference goes
    pythons: tuple[str, ...] = ()  # "A=/path/to/python": the interpreter that runs a side

    def __post_init__(self) -> None:
        if self.dtype and self.dtype not in get_args(DtypeName):
            raise OptionError(f"--dtype {self.dtype}: wanted one of {', '.join(get_args(DtypeName))}")
        if self.search and self.dtype in ("bfloat16", "float16"):
            raise OptionError(f"--search: its inputs are float32; leave out --dtype {self.dtype}")
        check_pythons(self.pythons)
        if self.engine not in get_args(Engine):
            raise OptionError(f"engine {self.engine!r}: wanted one of {', '.join(get_args(Engine))}")
