"""Which interpreter runs a side: this one, or the one of `--python A=/path/to/python`, from Python 3.7 on.

The other interpreter needs NumPy and the framework of its side, nothing of this package.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

from rnnverify.errors import OptionError, printable


def check_pythons(given: Sequence[str]) -> None:
    """Raises OptionError where one is not `SIDE=PATH`, is given twice, or is no program."""
    seen = set()
    for text in given:
        label, equals, path = text.partition("=")
        if not equals or len(label) != 1 or not label.isalpha():
            raise OptionError(f"--python {printable(text)}: wanted SIDE=PATH such as A=/opt/tf115/bin/python")
        if label.upper() in seen:
            raise OptionError(f"--python {printable(text)}: side {label.upper()} has an interpreter already; give one")
        seen.add(label.upper())
        if not shutil.which(os.path.expanduser(path)):  # noqa: PTH111 - `python3.7` is looked for on the PATH as it is
            raise OptionError(f"--python {printable(text)}: is no program; give the path of an interpreter")


def check_labels(given: Sequence[str], labels: Sequence[str]) -> None:
    """Raises OptionError where an interpreter is for a side that there is not."""
    for text in given:
        if text[0].upper() not in labels:
            raise OptionError(f"--python {printable(text)}: the sides are {', '.join(labels)}")


def python_of(label: str, given: Sequence[str]) -> str:
    """The program that runs side `label`."""
    for text in given:
        if text[0].upper() == label:
            found = shutil.which(os.path.expanduser(text[2:]))  # noqa: PTH111 - as above
            assert found, "checked before"
            return os.path.abspath(found)  # noqa: PTH100 - a link of a virtual environment must not be resolved
    return sys.executable
