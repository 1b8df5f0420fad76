"""The pytest fixture, found by its entry point; pytest pays for what it imports only where a test asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def assert_equivalent() -> Callable[..., Any]:
    """`rnnverify.testing.assert_equivalent`."""
    from rnnverify import testing

    return testing.assert_equivalent
