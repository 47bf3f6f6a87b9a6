"""The bytecode of templates, kept where Python keeps that of modules: `__pycache__` beside them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterable
from importlib import resources
from importlib.util import cache_from_source
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket, BytecodeCache


class TemplateBytecode(BytecodeCache):
    """Keeps compiled templates, as Python keeps compiled modules; where it cannot, each run compiles them again.

    What is kept is passed over where the template, Jinja or one of the `sources` (file names beside this module), which
    say how templates are compiled, is another one.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        """Read what decides, besides a template, on its bytecode."""
        self.folder = resources.files("auditkit.render.html")
        texts = [self.folder.joinpath(name).read_bytes() for name in sources]
        self.compiler = hashlib.sha256(b"\0".join([jinja2.__version__.encode(), *texts])).hexdigest()

    def get_source_checksum(self, source: str) -> str:
        """Return what the kept bytecode of a template must have been made from."""
        return hashlib.sha256(f"{self.compiler}{source}".encode()).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill a bucket with what is kept of its template, if anything is."""
        path = self._path(bucket.key)
        if path is not None:
            with contextlib.suppress(OSError), path.open("rb") as file:
                bucket.load_bytecode(file)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what was compiled, whole or not at all; a folder that may not be written to is no error."""
        path = self._path(bucket.key)
        if path is None or sys.dont_write_bytecode:
            return
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"{path.name}.{os.getpid()}")
            partial.write_bytes(bucket.bytecode_to_string())
            os.replace(partial, path)

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """Return the name of a template, which names the file of its bytecode too."""
        return name

    def _path(self, name: str) -> Path | None:
        """Return where the bytecode of a template is kept; None where the package is no folder."""
        template = self.folder.joinpath("templates", name)
        return Path(cache_from_source(template)) if isinstance(template, Path) else None
