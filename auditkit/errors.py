"""The error tree. Every message names the thing, its value, the bound and the remedy.

AuditkitError
├── InputError             the caller's input is wrong: one line, exit code 2
│   ├── ModelFileError     a model file that is missing, foreign, unsafe or damaged
│   ├── DatasetError       a data file, or a frame, that does not fit its schema
│   ├── SchemaError        a schema or model card that contradicts itself
│   └── PolicyError        a policy file that cannot be read as one
└── NotRun                 this check does not apply to this subject: recorded with its reason
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AuditkitError(Exception):
    """Base of everything that auditkit raises on purpose."""


class InputError(AuditkitError):
    """The caller's input is wrong; the message is one line and says what to do."""


class ModelFileError(InputError):
    """A model file is missing, of an unknown kind, unsafe to open, or damaged."""


class DatasetError(InputError):
    """A data set is missing, unreadable, or does not fit the schema."""


class SchemaError(InputError):
    """A schema or a model card contradicts itself."""


class PolicyError(InputError):
    """A policy file is not valid; the message names the line."""


class NotRun(AuditkitError):
    """Raised by an auditor whose check does not apply to this subject.

    The message is the reason that the report prints: what is missing, and what would supply it. `remedy` is the option
    that would, such as `--score COLUMN`.
    """

    def __init__(self, reason: str, *, remedy: str | None = None) -> None:
        super().__init__(reason if remedy is None else f"{reason}; pass {remedy}")
        self.reason = reason
        self.remedy = remedy


def out_of_memory(error: BaseException) -> str | None:
    """Return one line for an error that says that the memory is full, None for any other.

    >>> out_of_memory(MemoryError()), out_of_memory(ValueError("x"))
    ('out of memory; audit fewer rows (--limit N), or leave auditors out (--skip AUDITOR)', None)
    """
    words = str(error).lower()
    full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if full or (isinstance(error, RuntimeError) and any(said in words for said in NO_MEMORY)):
        return "out of memory; audit fewer rows (--limit N), or leave auditors out (--skip AUDITOR)"
    return None


NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""What torch says where the memory is full, in errors that have no type of their own."""


def closest(name: str, candidates: Iterable[str]) -> str:
    """Return `" (did you mean 'x'?)"` for the candidate nearest to `name`, or an empty string.

    Case decides only between candidates that differ in nothing else; the order of the candidates never does.

    >>> closest("incom", ["age", "income"]), closest("income", ["AGE", "INCOME"])
    (" (did you mean 'income'?)", " (did you mean 'INCOME'?)")
    >>> closest("femal", {"female", "Female"}), closest("Femal", {"female", "Female"})
    (" (did you mean 'female'?)", " (did you mean 'Female'?)")
    """
    known = sorted(set(candidates))
    near = difflib.get_close_matches(name.casefold(), {candidate.casefold() for candidate in known}, n=1)
    if not near:
        return ""
    alike = [candidate for candidate in known if candidate.casefold() == near[0]]
    return f" (did you mean '{difflib.get_close_matches(name, alike, n=1, cutoff=0)[0]}'?)"


def format_error(error: BaseException) -> str:
    """Return the type of an error and what it says, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
