"""How rows may be clipped: the names that a user and a ledger give."""

from __future__ import annotations

from typing import Literal, get_args

from auditkit.errors import InputError

Clipping = Literal["auto", "opacus", "bookkeeping", "chunked"]
"""What a user asks for: the fastest that is right, or one way alone."""

Way = Literal["bookkeeping", "chunked", "ghost", "hooks"]
"""What is done in the end; the last two are Opacus's."""


def require_clipping(clipping: str) -> None:
    """Raise InputError unless this is a way that a user may ask for."""
    if clipping not in get_args(Clipping):
        raise InputError(f"clipping must be {', '.join(get_args(Clipping))}, got {clipping!r}.")
