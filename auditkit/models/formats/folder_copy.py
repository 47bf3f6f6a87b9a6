"""A private copy of a model's folder, whose sha256 is that of the very bytes that a library opens by their paths."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from auditkit import files
from auditkit.budgets import MODEL_BYTES
from auditkit.errors import ModelFileError

OPENED = (".json", ".txt", ".model", ".safetensors")
"""How the names of files end that transformers opens; the others are hashed, and need not be copied."""

READ_AT_ONCE = 16 * 2**20


@contextmanager
def copied(name: str, folder: Path) -> Iterator[tuple[Path, str]]:
    """Give a copy of a folder, and a sha256 over the name and the sha256 of every file of the folder, sorted by name.

    A folder that somebody else can write may change while it is read. Nobody else can write the copy.

    Raises:
        ModelFileError: it holds anything but folders and regular files, or a file changed while it was copied.
    """
    whole = hashlib.sha256()
    with tempfile.TemporaryDirectory(prefix="auditkit-model-") as place:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink():
                raise ModelFileError(f"{name}: {path.name} is a link; copy the files themselves into the folder.")
            relative = path.relative_to(folder)
            if path.is_dir():
                (Path(place) / relative).mkdir()
                continue
            with (
                files.opened(
                    path, f"{name}: {path.name}", budget=MODEL_BYTES, within=folder, error=ModelFileError
                ) as file,
                open(Path(place) / relative if path.suffix in OPENED else os.devnull, "wb") as copy,
            ):
                digest = hashlib.sha256()
                while part := file.read(READ_AT_ONCE):
                    digest.update(part)
                    copy.write(part)
            whole.update(f"{relative.as_posix()} {digest.hexdigest()}\n".encode())
        yield Path(place), whole.hexdigest()
