"""Reads the pickle inside a PyTorch file without unpickling it.

`pickletools` takes the stream apart into opcodes; the machine here carries them out over plain Python values
and the inert records of `torch_globals`. There is no import, no attribute access and no call of anything that
the pickle names, so the worst that a hostile one can do is to be refused. Protocols 0 to 5, as torch.save of
1.0 to 2.13 writes them.
"""

from __future__ import annotations

import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rnnverify.containers.torch_globals import (
    KNOWN,
    LAYERS,
    build,
    key_of,
    known,
    of_the_standard_library,
    torch_refuses,
)
from rnnverify.containers.torch_records import Global, MalformedError, Record, Storage, Tensor, storage_of
from rnnverify.errors import FileError, UnsupportedError, printable

_MAX_STEPS = 3_000_000  # several seconds; ten thousand tensors with their optimizer take one million


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VALUES = _words(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE "
    "BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
)
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}

_TORCH_READS = _words(
    "PROTO STOP GLOBAL NEWOBJ REDUCE BUILD APPEND APPENDS SETITEM SETITEMS MARK TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "NONE NEWFALSE NEWTRUE EMPTY_TUPLE EMPTY_LIST EMPTY_DICT EMPTY_SET BININT BININT1 BININT2 BINFLOAT BINUNICODE "
    "SHORT_BINSTRING BINPERSID BINGET LONG_BINGET BINPUT LONG_BINPUT LONG1"
)
"""The opcodes that torch.load(weights_only=True) reads: torch/_weights_only_unpickler.py, 2.13.0."""


@dataclass(frozen=True)
class Loaded:
    """What one pickle describes."""

    value: object
    storages: dict[str, Storage]  # by key
    refused_by_torch: str  # what in it torch.load(weights_only=True) refuses; empty: nothing
    layers: tuple[str, ...] = ()  # classes of torch_globals.LAYERS that it has to be told to make
    others: tuple[str, ...] = ()  # classes, known to nobody here, of which it holds objects


def load(stream: IO[bytes], path: Path, tensors: Mapping[str, Tensor] | None = None) -> Loaded:
    """The object that the pickle at `stream`'s position describes; the stream is left right behind it.

    `tensors` are those outside it that it refers to by key, in the tar of PyTorch before 0.2.

    FileError where the pickle is damaged or bounds are passed; UnsupportedError where it calls what is not in
    `torch_globals.KNOWN`, or names what else Python itself brings. Objects of other classes are records.
    """
    machine = _Machine(path, tensors or {})
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            machine.step(opcode.name, argument)
        beside = tuple(machine.layers), tuple(machine.others)
        return Loaded(machine.stack[-1], machine.storages, machine.refused, *beside)
    except MalformedError as error:
        raise FileError(path, f"its pickle {error}", "the file is damaged or was not made by torch.save") from error
    except (ValueError, IndexError, KeyError) as error:
        raise FileError(path, "its pickle is truncated or damaged", "copy or download it again") from error


class _Machine:
    """The pickle machine: a stack, the stacks below open marks, and the memo."""

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        self.path = path
        self.tensors = tensors
        self.stack: list[object] = []
        self.below: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.storages: dict[str, Storage] = {}
        self.steps = 0
        self.refused = ""
        self.layers: dict[str, None] = {}
        self.others: dict[str, None] = {}

    def step(self, name: str, argument: object) -> None:
        self._spend(1)
        if name not in _TORCH_READS:
            self.refused = self.refused or f"the pickle opcode {name}"
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self.stack.append(self._take(_TUPLES[name]))
        else:
            self._carry_out(name, argument)

    def _carry_out(self, name: str, argument: object) -> None:
        stack = self.stack
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self.below.append(stack)
                self.stack = []
            case "POP":
                self._take(1)
            case "POP_MARK":
                self._to_mark()
            case "DUP":
                stack.append(stack[-1])
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[self._index(argument)])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[self._index(argument)] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "TUPLE":
                taken = tuple(self._to_mark())
                self.stack.append(taken)
            case "EMPTY_LIST" | "EMPTY_SET":  # a set's members are never looked up: a list holds them
                stack.append([])
            case "LIST" | "FROZENSET":
                items = self._to_mark()
                self.stack.append(items)
            case "APPEND":
                self._append(list(self._take(1)))
            case "APPENDS" | "ADDITEMS":
                self._append(self._to_mark())
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                items = self._to_mark()
                self.stack.append({})
                self._set_items(items)
            case "SETITEM":
                self._set_items(list(self._take(2)))
            case "SETITEMS":
                self._set_items(self._to_mark())
            case "GLOBAL":
                stack.append(self._name(*str(argument).split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(self._name(*self._take(2)))
            case "REDUCE":
                self._call(*self._take(2))
            case "NEWOBJ":
                self._make(*self._take(2))
            case "NEWOBJ_EX":
                self._make(*self._take(3))
            case "INST":
                items = self._to_mark()
                self._call(self._name(*str(argument).split(" ", 1)), tuple(items))
            case "BUILD":
                self._give_state(*self._take(1))
            case "BINPERSID":
                stack.append(self._persistent(stack.pop()))
            case _:
                raise MalformedError(f"uses the opcode {name}, which torch.save does not write")

    @staticmethod
    def _index(argument: object) -> int:
        if not isinstance(argument, int):
            raise MalformedError("remembers a value under something that is no number")
        return argument

    def _spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > _MAX_STEPS:
            raise MalformedError(f"takes more than {_MAX_STEPS} steps")

    def _take(self, count: int) -> tuple[object, ...]:
        """The `count` topmost values, in order."""
        if count > len(self.stack):
            raise MalformedError("takes values that it never put down")
        taken = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return taken

    def _to_mark(self) -> list[object]:
        """Everything put down since the last mark."""
        taken, self.stack = self.stack, self.below.pop()
        return taken

    def _name(self, module: object, name: object) -> Global:
        if not isinstance(module, str) or not isinstance(name, str):
            raise MalformedError("names a class by something that is no text")
        named = Global(module, name)
        if (module, name) not in KNOWN and of_the_standard_library(named):
            raise self._refusal("names", named)
        if torch_refuses(named):
            self.refused = self.refused or str(named)
        elif str(named) in LAYERS:
            self.layers[str(named)] = None
        return named

    def _refusal(self, does: str, named: Global) -> UnsupportedError:
        found = f"its pickle {does} {printable(named, 100)}, which no file of weights needs, and was not run"
        return UnsupportedError(self.path, found, "save the weights alone: torch.save(model.state_dict(), FILE)")

    def _make(self, made: object, arguments: object, *keywords: object) -> None:
        """An object of a class: of a known one as its call builds it, of another a record that awaits its state."""
        if not isinstance(made, Global) or not isinstance(arguments, tuple):
            raise MalformedError("makes an object of something that is no class")
        if (made.module, made.name) in KNOWN:
            self._call(made, arguments)
        else:
            self.others[str(made)] = None
            self.stack.append(Record(made, (*arguments, *keywords)))

    def _call(self, called: object, arguments: object) -> None:
        if not isinstance(called, Global) or not isinstance(arguments, tuple):
            raise MalformedError("calls something that is no class")
        if not known(called):
            raise self._refusal("calls", called)
        made = build(called, arguments)
        if isinstance(made, dict):
            self._spend(len(made))  # a list taken twice from the memo is copied twice
        self.stack.append(made)

    def _persistent(self, entry: object) -> object:
        if isinstance(entry, tuple) and len(entry) == 4 and entry[0] == "module" and isinstance(entry[1], Global):
            self.refused = self.refused or "the source text of classes that it holds"
            return entry[1]  # legacy files: ('module', class, source file, source); the source is not looked at
        if type(entry) is str and entry in self.tensors:
            return self.tensors[entry]
        storage = storage_of(self.path, entry)
        self.storages.setdefault(storage.key, storage)
        return storage

    def _append(self, values: list[object]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Record):  # a record stays empty: its items are of no interest
            raise MalformedError("appends to something that is no list")

    def _set_items(self, flat: list[object]) -> None:
        target = self.stack[-1]
        if len(flat) % 2 or not isinstance(target, (dict, Record)):
            raise MalformedError("sets an item of something that is no dict")
        if isinstance(target, dict):
            target.update((key_of(key), value) for key, value in zip(flat[::2], flat[1::2], strict=True))

    def _give_state(self, state: object) -> None:
        """BUILD. A dict's state is what torch hangs on a state_dict (`_metadata`: versions of its modules)."""
        target = self.stack[-1]
        if isinstance(target, Record):
            target.state = state
        elif not isinstance(target, dict):
            raise MalformedError("gives a state to something that has none")
