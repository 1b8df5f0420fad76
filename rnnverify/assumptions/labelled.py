"""Options that are for every side, `value`, or for one, `B=value`."""

from __future__ import annotations

from collections.abc import Sequence

from rnnverify.errors import OptionError, printable


def by_label(option: str, given: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """{label: value} of options like `B=value`; a value for every side stands under the empty label."""
    found: dict[str, str] = {}
    for text in given:
        label, equals, value = text.rpartition("=")
        label = label.upper()
        if equals and label not in labels:
            raise OptionError(f"{option} {printable(text)}: the sides are {', '.join(labels)}")
        if label in found:
            raise OptionError(f"{option} {printable(text)}: was already given as something else; give it once")
        found[label] = value
    return found
