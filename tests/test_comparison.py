"""What a whole comparison comes to."""

from rnnverify import errors
from rnnverify.comparison import EXIT_CODES


def test_exit_codes() -> None:
    assert EXIT_CODES == {"IDENTICAL": 0, "EQUIVALENT": 0, "CLOSE": 0, "DIFFERENT": 1, "INCONCLUSIVE": 3}
    assert errors.EXIT_ERROR == 2
