"""Errors that people meet."""

import pytest

from core.errors import AuditlakeError, LockedError, ResidueError, UsageError


@pytest.mark.parametrize(("kind", "code"), [(AuditlakeError, 1), (ResidueError, 1), (UsageError, 2), (LockedError, 3)])
def test_each_kind_has_its_exit_code(kind: type[AuditlakeError], code: int) -> None:
    error = kind("the thing is wrong", "mend it")
    assert isinstance(error, AuditlakeError)
    assert error.exit_code == code


def test_an_error_is_one_line_with_the_way_out() -> None:
    assert str(AuditlakeError("first\nsecond\tthird", "do\nthis")) == "first second third; do this"
    assert str(AuditlakeError("no way out")) == "no way out"
