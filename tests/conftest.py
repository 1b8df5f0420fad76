"""Places that tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def fixtures() -> Path:
    """The folder of model files."""
    return FIXTURES
