"""The reader of CONTRIBUTING.md, installed."""

from __future__ import annotations

import pandas as pd

from auditkit.data.readers.base import DataSource, ReadOptions, ReadRows
from auditkit.errors import DatasetError


class FixedWidthReader:
    """Text in columns of fixed width, as old systems write it."""

    def recognise(self, source: DataSource) -> bool:
        return source.path.suffix == ".fwf"

    def read(self, source: DataSource, options: ReadOptions) -> ReadRows:
        try:
            frame = pd.read_fwf(source.file, encoding=options.encoding, dtype=str)
        except (ValueError, UnicodeDecodeError) as error:
            raise DatasetError(f"{source.name}: {error}.") from error
        frame.index = pd.RangeIndex(2, len(frame) + 2, name="line")
        return ReadRows(frame)
