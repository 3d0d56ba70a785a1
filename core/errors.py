"""Every error that a person meets: one line that names the thing, its value and the way out.

AuditlakeError            exit 1: the work failed, or residue was found
├── UsageError            exit 2: a command, argument or configuration is wrong
├── LockedError           exit 3: another process holds the data directory
└── ResidueError          exit 1: something that must be gone is still there
"""

__all__ = ["EXIT_DONE", "EXIT_FAILED", "EXIT_LOCKED", "EXIT_USAGE", "AuditlakeError", "LockedError", "ResidueError", "UsageError"]

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_LOCKED = 3


class AuditlakeError(Exception):
    """Something failed that a person must know of.

    :param problem: what is wrong, with the name of the thing and its value.
    :param hint: the way out, as an imperative; may be empty.
    """

    exit_code = EXIT_FAILED

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.problem}; {self.hint}" if self.hint else self.problem
        return " ".join(text.split())


class UsageError(AuditlakeError):
    """A command, an argument or a setting that cannot be meant."""

    exit_code = EXIT_USAGE


class LockedError(AuditlakeError):
    """Another process holds the data directory or one of its files."""

    exit_code = EXIT_LOCKED


class ResidueError(AuditlakeError):
    """After a destruction something is still there; the next run tries again."""
