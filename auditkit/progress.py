"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]
"""Called with the share of the work that is done, 0 to 1, and a few words on what is being done."""

AuditProgress = Callable[[str, float, str], None]
"""Called with the auditor's name, the share of its work that is done, and what is being done."""


def silent(share: float, what: str) -> None:
    """Tell nobody: what work does that nobody watches."""


def part_of(progress: Progress, start: float, end: float, prefix: str = "") -> Progress:
    """Return the progress of one part of the work, which takes the whole from `start` to `end`.

    >>> told = part_of(lambda share, what: print(f"{share:.2f} {what}"), 0.5, 1.0, "seed 2: ")
    >>> told(0.5, "epoch 3")
    0.75 seed 2: epoch 3
    """

    def told(share: float, what: str) -> None:
        progress(start + (end - start) * share, prefix + what)

    return told
