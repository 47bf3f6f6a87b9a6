"""JSON Lines, plain or gzipped: one object a line."""

from __future__ import annotations

from auditkit.data.readers.base import DataSource, ReadOptions, ReadRows
from auditkit.data.readers.text import read_jsonl


class JsonLinesReader:
    """Files that are called `.jsonl` or `.ndjson`."""

    def recognise(self, source: DataSource) -> bool:
        """Return whether its name says so."""
        return not source.is_folder and any(suffix in (".jsonl", ".ndjson") for suffix in source.path.suffixes)

    def read(self, source: DataSource, options: ReadOptions) -> ReadRows:
        """Return its rows, every column as text."""
        return ReadRows(read_jsonl(source.name, source.file, options.encoding))
