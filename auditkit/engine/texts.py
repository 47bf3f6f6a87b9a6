"""The texts of rows, as a language model reads them."""

from __future__ import annotations

import pandas as pd

from auditkit.schema.schema import Schema

EXCERPT = 200
"""So many characters of a text are shown."""


def shortened(text: str) -> str:
    """Return a text, or the beginning of a longer one, as a report shows it."""
    return text if len(text) <= EXCERPT else f"{text[: EXCERPT - 1]}…"


def texts_of(frame: pd.DataFrame, schema: Schema) -> list[str]:
    """Return the text of each row; a missing one is empty."""
    column = frame[schema.features[0].name]
    return ["" if missing else str(text) for text, missing in zip(column, column.isna(), strict=True)]
