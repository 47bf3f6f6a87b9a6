"""The one place that opens files which a user, or another file, names.

A path is data. What it leads to may be a pipe that never ends, a device, a link out of its folder, a file of
terabytes, or a file that somebody replaces between two reads. So a file is opened once, without waiting, is checked
on its descriptor, and its hash and its content are taken from that descriptor or from a private copy of its bytes.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from auditkit.budgets import WORDS_BYTES, Budget
from auditkit.errors import InputError

COPIED_BYTES = 256 * 2**20
"""Files up to this size are read into memory at once, so that nobody changes them between their hash and their use."""

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_KINDS = {
    stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket",
}  # fmt: skip


@contextmanager
def opened(
    path: str | Path,
    name: str,
    *,
    budget: Budget = WORDS_BYTES,
    within: Path | None = None,
    remedy: str = "",
    error: type[InputError] = InputError,
) -> Iterator[BinaryIO]:
    """Give the bytes of a regular file, from its start; the same bytes however often they are read.

    Args:
        path: the file.
        name: how messages call it.
        budget: how large it may be.
        within: a folder that it must lie in once links are followed.
        remedy: what to do where there is no such file, as the end of a sentence.
        error: what is raised.

    Raises:
        InputError: as the class `error`, in one line: no such file, no regular file, too large, outside of `within`,
            or changed while it was read.
    """
    ending = f"; {remedy}" if remedy else ""
    try:
        descriptor = os.open(_inside(Path(path), within, name, error), _FLAGS)
    except OSError as problem:
        raise error(f"{name}: {(problem.strerror or str(problem)).rstrip('.')}{ending.rstrip('.')}.") from problem
    except ValueError as problem:  # a NUL in a path
        raise error(f"{name}: {problem}{ending.rstrip('.')}.") from problem
    try:
        before = _regular(os.fstat(descriptor), name, ending, budget, error)
    except BaseException:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as raw:
        if within is not None and not _still_inside(Path(path), within, before):
            raise error(f"{name}: was replaced while it was opened; try again.")
        if before.st_size > COPIED_BYTES:
            yield raw
            if _state(os.fstat(descriptor)) != _state(before):
                raise error(f"{name}: was changed while it was read; try again.")
            return
        try:
            content = raw.read(before.st_size + 1)
        except OSError as problem:
            raise error(f"{name}: {problem.strerror or problem}{ending.rstrip('.')}.") from problem
        if len(content) > before.st_size:
            raise error(f"{name}: grew while it was read; try again.")
    yield io.BytesIO(content)


def read_bytes(
    path: str | Path,
    name: str,
    *,
    budget: Budget = WORDS_BYTES,
    within: Path | None = None,
    remedy: str = "",
    error: type[InputError] = InputError,
) -> bytes:
    """Return the content of a regular file; arguments and errors are those of `opened`."""
    with opened(path, name, budget=budget, within=within, remedy=remedy, error=error) as file:
        return file.read()


def read_text(
    path: str | Path,
    name: str,
    *,
    budget: Budget = WORDS_BYTES,
    remedy: str = "",
    error: type[InputError] = InputError,
) -> str:
    """Return the UTF-8 text of a regular file, with newlines as Python has them; errors are those of `opened`."""
    content = read_bytes(path, name, budget=budget, remedy=remedy, error=error)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise error(f"{name}: not UTF-8 text at byte {problem.start}; save it as UTF-8.") from problem
    return text.replace("\r\n", "\n").replace("\r", "\n")


def digest(file: BinaryIO) -> str:
    """Return the sha256 of an open file from its start, and leave it there."""
    file.seek(0)
    found = hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()
    file.seek(0)
    return found


def sha256_of(path: str | Path, name: str, *, budget: Budget, error: type[InputError] = InputError) -> str:
    """Return the sha256 of a regular file; errors are those of `opened`."""
    with opened(path, name, budget=budget, error=error) as file:
        return digest(file)


def _inside(path: Path, within: Path | None, name: str, error: type[InputError]) -> Path:
    if within is None:
        return path
    try:
        resolved = path.resolve(strict=True)
    except RuntimeError as problem:  # a loop of links, before Python 3.13
        raise error(f"{name}: is a link to itself.") from problem
    if not resolved.is_relative_to(within.resolve()):
        raise error(f"{name}: is a link out of {within}; copy the file into the folder.")
    return resolved


def _still_inside(path: Path, within: Path, found: os.stat_result) -> bool:
    try:
        resolved = path.resolve(strict=True)
        now = os.stat(resolved, follow_symlinks=False)
    except (OSError, RuntimeError):
        return False
    return resolved.is_relative_to(within.resolve()) and os.path.samestat(now, found)


def _regular(found: os.stat_result, name: str, ending: str, budget: Budget, error: type[InputError]) -> os.stat_result:
    if stat.S_ISDIR(found.st_mode):
        raise error(f"{name}: is a folder, and a file is needed{ending.rstrip('.')}.")
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise error(f"{name}: is no regular file but {kind}; save its content as a file and name that.")
    budget.check(found.st_size, name, error)
    return found


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
