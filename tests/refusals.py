"""Model files that must not open: what a refusal has to be, and how files are made that deserve one."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from effort import effort

from auditkit.errors import ModelFileError
from auditkit.models.formats.opening import open_model

MOST_BYTES = 64 * 2**20
"""What a refusal may hold at once, whatever the size that a file claims to have."""


def most_calls(path: Path) -> int:
    """Return how many calls a refusal may take: in proportion to the bytes that are there, not to those claimed.

    A word of a pickle is a byte, and takes some four calls to be looked at.
    """
    return 100_000 + 10 * (path.stat().st_size if path.is_file() else 0)


def refused(path: Path, match: str) -> str:
    """Opening must be refused with one line that names the file, at once, and leave no trace."""
    before = sorted(os.listdir(path.parent)) if path.parent.is_dir() else []
    with effort() as spent, pytest.raises(ModelFileError, match=match) as caught:
        open_model(path)
    message = str(caught.value)
    assert spent.calls < most_calls(path)
    assert spent.peak_bytes < MOST_BYTES
    assert "\n" not in message
    assert message.startswith(f"model {path}: ")
    assert len(message) < 700 + 2 * len(str(path))
    assert (sorted(os.listdir(path.parent)) if path.parent.is_dir() else []) == before
    assert not TRACE.exists()
    return message


TRACE = Path(f"/tmp/auditkit-test-trace-{os.getpid()}")


class Evil:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {TRACE}",))


def repacked(path: Path, change: Any, *, compression: int = zipfile.ZIP_STORED) -> None:
    """Write an archive again, its members passed through `change(name, content)` (None leaves one out)."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            changed = change(name, content)
            if changed is not None:
                archive.writestr(name, changed)
