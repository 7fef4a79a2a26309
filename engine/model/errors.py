"""Every error a user can meet, as one tree.

    EngineError
    ├── UsageError          exit 2   a command, option or parameter that cannot be carried out as given
    ├── InputError          exit 2   a file, row or value that is not what it should be
    │   ├── DecimalError             a text that is not a decimal, or has more decimals than allowed
    │   ├── StrategyError            a strategy that cannot be loaded, or that failed while it ran
    │   └── MissingAnswer            a question that no answer is recorded for
    ├── DamagedLog          exit 3   bytes of a log that are not what was written
    ├── VenueError          exit 4   a venue or the network between
    ├── CheckFailed         exit 1   a verification that found a difference
    └── InternalError       exit 1   a broken promise of the engine's own: always a bug

An error says where (file, row or byte, field), what stands there, and, in `hint`, what to do. The
command line prints exactly that, and a traceback only with `--debug`.
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of all errors shown to a user: a message, a hint (may be empty) and an exit code."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class UsageError(EngineError):
    """A command, option or parameter that cannot be carried out as given."""

    exit_code = 2


class InputError(EngineError):
    """A file, row or value that is not what it should be."""

    exit_code = 2


class DecimalError(InputError):
    """A text that is not a decimal number, or has more decimals than its instrument allows."""


class StrategyError(InputError):
    """A strategy that cannot be loaded, or that failed while it ran."""


class MissingAnswer(InputError):
    """A question of a strategy's that no answer is recorded for."""


class DamagedLog(InputError):
    """Bytes of a log that are not what was written; `offset` is where the damage begins."""

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "", offset: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.offset = offset


class VenueError(EngineError):
    """A venue that cannot be reached, or that answers what it should not."""

    exit_code = 4


class CheckFailed(EngineError):
    """A verification that found a difference."""

    exit_code = 1


class InternalError(EngineError):
    """A promise of the engine's own that did not hold; always a bug."""

    exit_code = 1
