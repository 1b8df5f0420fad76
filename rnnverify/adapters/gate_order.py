"""How a role tells in what order its tensor holds the gates: from the string by which its adapter takes it apart."""

from __future__ import annotations


def in_order(gates: str, along: str = "") -> str:
    """`, gates i, f, g, o in columns`, in the letters of `canonical.GATES`; empty where there is one gate."""
    if len(gates) < 2:
        return ""
    return f", gates {', '.join(gates)}" + (f" in {along}" if along else "")
