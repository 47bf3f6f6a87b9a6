"""The folder of a run: locked while it is written, each file whole or absent."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from auditkit.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has no flock: there, two runs into one folder are not told apart
    fcntl = None  # type: ignore[assignment]  # None in the place of a module says that it is absent


@contextmanager
def output_folder(path: str | Path) -> Iterator[Path]:
    """Create and lock `path` for one run; where the run fails before it writes, nothing stays behind.

    Raises:
        InputError: the folder cannot be written, or another run holds it.
    """
    folder = Path(path)
    created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        _remove_empty(created)
        raise InputError(f"output folder {folder}: {error.strerror or error}; pass --out DIR.") from error
    try:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                    raise InputError(
                        f"output folder {folder}: another run is writing there; pass --out DIR."
                    ) from error
                raise
        yield folder
    finally:
        os.close(handle)
        _remove_empty(created)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def write_files(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write every file beside its place, then move all into place: each is whole or absent.

    Raises:
        InputError: the disk is full or the folder was taken away; no new file is left.
    """
    staged: list[tuple[Path, Path]] = []
    try:
        for name, content in contents.items():
            handle, beside = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
            staged.append((Path(beside), folder / name))
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            Path(beside).chmod(0o666 & ~umask)
        for beside_path, place in staged:
            beside_path.replace(place)
    except OSError as error:
        raise InputError(f"output folder {folder}: {error.strerror or error}; pass --out DIR.") from error
    finally:
        for beside_path, _ in staged:
            beside_path.unlink(missing_ok=True)


def write_new(path: Path, text: str) -> None:
    """Write a file that a user is to edit; one that is there already is never overwritten.

    Raises:
        InputError: the file is there already, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path} is there already; name another file.") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; name another file.") from error
