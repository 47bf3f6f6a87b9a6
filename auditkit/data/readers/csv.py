"""Comma-separated text, plain or gzipped: what is read where no other reader recognises a file."""

from __future__ import annotations

from auditkit.data.readers.base import DataSource, ReadOptions, ReadRows
from auditkit.data.readers.text import read_csv


class CsvReader:
    """Files of comma-separated text whose first line names the columns."""

    def recognise(self, source: DataSource) -> bool:
        """Return whether its name says so; a file that no reader recognises is read as CSV too."""
        return not source.is_folder and ".csv" in source.path.suffixes

    def read(self, source: DataSource, options: ReadOptions) -> ReadRows:
        """Return its rows, every column as text."""
        return ReadRows(read_csv(source.name, source.file, options.encoding, index=options.index))
