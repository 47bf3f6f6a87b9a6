"""How a tokenizer of Hugging Face makes tokens of a column of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditkit.errors import InputError, closest
from auditkit.schema.pieces import PieceTokenizer
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature
from auditkit.schema.text import piece_counts

if TYPE_CHECKING:
    from auditkit.models.from_columns import Columns


def text_feature(tokenizer: PieceTokenizer, columns: Columns, most: int) -> Feature:
    """Return the column of texts as a feature of at most so many pieces, by a tokenizer.

    Raises:
        InputError: no column of texts is named, or the data have none of this name.
    """
    if columns.text is None:
        raise InputError("text must name the column that the model reads; pass --text COLUMN.")
    rows = columns.read_rows()
    if columns.text not in rows.frame.columns:
        names = [str(column) for column in rows.frame.columns]
        raise InputError(f"text column {columns.text!r} is not in {rows.name}{closest(columns.text, names)}.")
    pieces = tokenizer.to_str()
    names_of_codes = {code: piece for piece, code in tokenizer.get_vocab().items()}
    vocabulary = tuple(names_of_codes.get(code, f"(piece {code})") for code in range(max(names_of_codes) + 1))
    longest = int(piece_counts(rows.frame[columns.text], pieces).max(initial=1))
    return Feature(
        name=columns.text,
        kind="text",
        tokenizer="pieces",
        pieces=pieces,
        vocabulary=vocabulary,
        length=max(1, min(longest, most)),
    )


def language_schema(tokenizer: PieceTokenizer, columns: Columns, context: int) -> Schema:
    """Return the schema of a language model over a column of texts.

    Raises:
        InputError: as `text_feature`, or a target is named.
    """
    if columns.target is not None:
        raise InputError("target is for models that predict a label; a language model has none: leave --target out.")
    feature = text_feature(tokenizer, columns, context)
    return Schema(features=(feature,), target=None, task="language", sensitive=columns.sensitive, output="tokens")
