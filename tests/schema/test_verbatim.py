"""Texts kept word for word: they come back as they were, also in another process, and are told from categories."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from auditkit.errors import ModelFileError, SchemaError
from auditkit.models import columns
from auditkit.models.columns import decoder_of
from auditkit.schema.schema import Schema, read_schema
from auditkit.schema.table import Feature
from auditkit.schema.text import PADDING, UNKNOWN
from auditkit.schema.verbatim import TextCodes, encode_verbatim, is_free_text, pieces_of, verbatim_length

TEXTS = ["  It's fine, isn’t it?! ", "...", "", "one", "没有 意思\nfilm", "a, b. c; d", "?", None, "It's fine, again"]


@pytest.mark.parametrize("most", [1, 2, 3, 50])
def test_the_pieces_of_a_text_make_the_text_again(most: int) -> None:
    for text in TEXTS:
        if text is not None:
            pieces = pieces_of(text, most)
            assert "".join(pieces) == text
            assert 1 <= len(pieces) <= most


def test_missing_and_blank_texts_have_codes_of_their_own() -> None:
    found = encode_verbatim(pd.Series(TEXTS, dtype=object), 3)
    assert (found[[6, 7]] == PADDING).all(), "a question mark, and nothing, are missing"
    assert found[2].tolist() == [UNKNOWN, PADDING, PADDING]
    assert (found[[0, 1, 3, 4, 5, 8], 0] > UNKNOWN).all()


def test_equal_texts_have_equal_codes_whatever_was_seen_between() -> None:
    first = encode_verbatim(pd.Series(["x y", "z"]), 2)
    encode_verbatim(pd.Series(["something else"]), 2)
    np.testing.assert_array_equal(encode_verbatim(pd.Series(["z", "x y"]), 2), first[::-1])


def test_codes_of_another_process_are_taken_over_or_refused() -> None:
    here, there = TextCodes(), TextCodes()
    codes = here.codes(["a ", "b", "a "])
    assert codes == [2, 3, 2]
    there.restore(here.state())
    assert there.join(np.array([codes])).tolist() == ["a ba "]
    with pytest.raises(ModelFileError, match="read in another process; leave --executor out"):
        there.join(np.array([[9]]))
    other = TextCodes()
    other.codes(["b"])
    with pytest.raises(ModelFileError, match="in another order"):
        other.restore(here.state())


def test_a_decoder_takes_its_texts_to_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"age": [1, 2], "words": ["kept word for word", "too"]})
    decoder = decoder_of([frame], ["age", "words"], text="words")
    cells = Schema(features=decoder.features, target=None, task="regression", output="value").encode(frame)
    sent = pickle.dumps(decoder)
    monkeypatch.setattr(columns, "TEXT_CODES", TextCodes())  # as in another process
    assert pickle.loads(sent).frame(cells.astype(np.float64)).words.tolist() == frame.words.tolist()


def test_free_text_is_told_from_categories_numbers_and_dates() -> None:
    def free(values: Sequence[object]) -> bool:
        return is_free_text(pd.Series(list(values), dtype=object), most_categories=1000)

    sentences = [f"this is review number {number} of many" for number in range(60)]
    assert free([*sentences])
    assert not free(sentences[:50]), "so few may be categories"
    assert not free(sentences * 3), "most rows share their text with others"
    assert not free([f"person {number}" for number in range(60)]), "two words are a name"
    assert free([f"person {number}" for number in range(1001)])
    assert not free(list(range(2000)))
    assert not is_free_text(pd.Series(pd.date_range("2020-01-01", periods=1500)), most_categories=1000)


def test_the_length_holds_every_word_of_the_longest_text_up_to_a_bound() -> None:
    assert verbatim_length(pd.Series(["a b c", "d"])) == 3
    assert verbatim_length(pd.Series(["a"])) == 2, "one piece is a cell of a table"
    assert verbatim_length(pd.Series(["w " * 3000])) == 512


def test_one_cell_stands_beside_other_columns_and_more_do_not() -> None:
    cell = Feature(name="words", kind="text", tokenizer="verbatim", length=1, missing=True)
    schema = Schema(features=(Feature(name="a", kind="numeric"), cell), target=None, task="regression", output="value")
    assert schema.kind == "table"
    assert schema.text_cells == {"words": 1}
    assert schema.input_width == 3
    rows = schema.encode(pd.DataFrame({"a": [1.0, 3.0], "words": ["x", None]}))
    assert rows[1].tolist() == [3.0, PADDING, 1.0]
    assert schema.mean_row(rows).tolist() == [2.0, UNKNOWN, 0.0]
    longer = (schema.features[0], cell.model_copy(update={"length": 2}))
    with pytest.raises(ValueError, match="must be the only feature"):
        Schema.model_validate(schema.model_dump() | {"features": longer})


def test_a_schema_file_cannot_ask_for_texts_that_only_the_users_code_reads(tmp_path: Path) -> None:
    cell = Feature(name="words", kind="text", tokenizer="verbatim", length=1)
    schema = Schema(features=(cell,), target=None, task="regression", output="value")
    (tmp_path / "schema.json").write_text(schema.model_dump_json())
    with pytest.raises(SchemaError, match=r"'words' is kept verbatim.*takes no schema file"):
        read_schema(tmp_path / "schema.json")
