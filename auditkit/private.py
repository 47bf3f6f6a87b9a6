"""What belongs to the user who runs auditkit: a private folder for caches, and a secret key that marks their content.

What auditkit writes and later believes (kept predictions, checkpoints, ledgers) carries a code that only this user can
make. It tells the user's own files from files that somebody else put in their place. It does not tell them from files
that another program of the same user made, since that program can read the key.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from auditkit.errors import InputError
from auditkit.files import read_bytes

KEY_BYTES = 32


def private_folder(kind: str) -> Path | None:
    """Return this user's folder for `kind` ("cache" or "data"), made with mode 0700; None where there is none.

    It is `$XDG_CACHE_HOME/auditkit` (by default `~/.cache/auditkit`), or `$XDG_DATA_HOME/auditkit` (`~/.local/share`).
    A folder that is a link, belongs to another user, or that others may read is not used.
    """
    variable, default = {"cache": ("XDG_CACHE_HOME", ".cache"), "data": ("XDG_DATA_HOME", ".local/share")}[kind]
    try:
        given = os.environ.get(variable, "")
        folder = (Path(given) if Path(given).is_absolute() else Path.home() / default) / "auditkit"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if is_private(folder) else None
    except (OSError, RuntimeError):  # no home, a full or read-only disk
        return None


def is_private(path: Path) -> bool:
    """Return whether a folder or file is no link, belongs to this user, and is closed to all others."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return False
    return not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o077)


def user_key() -> bytes | None:
    """Return this user's secret key, made on first use; None where it cannot be kept privately."""
    folder = private_folder("data")
    if folder is None:
        return None
    path = folder / "key"
    try:
        with contextlib.suppress(FileExistsError):
            _create(path)
        if not is_private(path):
            return None
        key = read_bytes(path, "key")
    except (OSError, InputError):
        return None
    return key if len(key) == KEY_BYTES else None


def seal_of(key: bytes, purpose: str, content: bytes) -> bytes:
    """Return the HMAC-SHA256 of `content` under a user's key, for one purpose alone."""
    return hmac.digest(hmac.digest(key, purpose.encode(), "sha256"), content, "sha256")


def is_sealed(key: bytes, purpose: str, content: bytes, seal: bytes) -> bool:
    """Return whether `seal` is that of `content`."""
    return hmac.compare_digest(seal_of(key, purpose, content), seal)


def _create(path: Path) -> None:
    """Write a new key, whole or not at all; an existing one stays.

    Raises:
        FileExistsError: there is a key already.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    if path.exists():
        return
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(beside, path)
    finally:
        beside.unlink(missing_ok=True)
