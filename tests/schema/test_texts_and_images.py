from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditkit.data.image import image_shape
from auditkit.errors import DatasetError, InputError
from auditkit.schema.infer import infer_schema
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature
from auditkit.schema.text import choose_length, encode_text, learn_vocabulary, words

TEXTS = pd.DataFrame(
    {
        "text": ["Good film", "bad film!", "good, GOOD acting", None, "xyz", "bad bad bad bad"],
        "kind": ["a", "b", "a", "b", "a", "b"],
        "label": ["y", "n", "y", "n", "y", "n"],
    },
    dtype=object,
)


def naive_ids(text: str | None, vocabulary: tuple[str, ...], length: int) -> list[int]:
    ids = [vocabulary.index(word) + 2 if word in vocabulary else 1 for word in words(text or "")][:length]
    return ids + [0] * (length - len(ids))


def test_a_text_column_becomes_token_ids() -> None:
    schema = infer_schema(TEXTS, target="label", sensitive=["kind"], text="text")
    (feature,) = schema.features
    assert (schema.kind, feature.kind, feature.tokenizer) == ("text", "text", "words")
    assert feature.vocabulary == ("bad", "good", "film")
    assert feature.length == 4
    encoded = schema.encode(TEXTS)
    assert encoded.dtype == np.int64
    assert encoded.tolist() == [naive_ids(text, feature.vocabulary, 4) for text in TEXTS["text"]]
    assert encoded[3].tolist() == [0, 0, 0, 0]
    assert schema.unseen_counts(TEXTS) == {"text": 2}  # the missing one, and xyz
    assert schema.network_arguments() == {"vocabulary_size": 5, "length": 4, "output_width": 2}
    longer = pd.DataFrame({"text": ["good " * 5, "bad"]})
    assert schema.cut_count(longer) == 1
    assert schema.encode(longer)[0].tolist() == [3, 3, 3, 3]
    assert Schema.model_validate_json(schema.model_dump_json()) == schema


def test_the_report_does_not_repeat_the_vocabulary() -> None:
    schema = infer_schema(TEXTS, target="label", text="text")
    assert "film" not in str(schema.for_report())
    assert schema.for_report()["features"][0]["vocabulary"] == "3 words"


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8), st.integers(1, 6))
def test_texts_of_any_kind_encode_as_a_naive_loop(texts: list[str], length: int) -> None:
    vocabulary = learn_vocabulary([*texts, *texts])[:5]
    column = pd.Series(texts, dtype=object)
    encoded = encode_text(column, vocabulary, length)
    missing = {"", "?"}
    expected = [naive_ids(None if text.strip() in missing else text.strip(), vocabulary, length) for text in texts]
    assert encoded.tolist() == expected
    order = np.arange(len(texts))[::-1]
    assert (encode_text(column.iloc[order], vocabulary, length) == encoded[order]).all()
    assert choose_length(texts) >= 1


def test_pixel_columns_and_arrays_of_the_same_images_encode_alike() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 4, 5, 3), dtype=np.uint8)
    arrays = pd.DataFrame({"image": list(images), "label": ["a", "b"] * 6})
    names = [f"p{place}" for place in range(60)]
    columns = pd.DataFrame(images.reshape(12, -1).astype(str), columns=names).assign(label=arrays["label"])
    by_array = infer_schema(arrays, target="label")
    by_column = infer_schema(columns, target="label", image=(3, 4, 5))
    assert by_array.kind == by_column.kind == "image"
    assert by_array.features[0].shape == (3, 4, 5)
    encoded = by_array.encode(arrays)
    assert encoded.shape == (12, 3, 4, 5)
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(by_column.encode(columns[columns.columns[::-1]]), encoded)
    np.testing.assert_allclose(encoded.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(encoded.std(), 1, rtol=1e-5)
    feature = by_array.features[0]
    np.testing.assert_allclose(encoded[2, 1, 3, 4] * feature.scale + feature.mean, images[2, 3, 4, 1], rtol=1e-5)
    assert by_column.for_report()["features"][0]["columns"] == "60 columns"


def grey(*shapes: tuple[int, ...]) -> pd.DataFrame:
    return pd.DataFrame({"image": [np.zeros(shape, np.uint8) for shape in shapes], "label": ["a", "b", "a"]})


def test_images_that_do_not_fit_are_named() -> None:
    schema = infer_schema(grey((4, 4), (4, 4), (4, 4)), target="label")
    with pytest.raises(
        DatasetError, match=r"'image', row 1: holds an image of shape \(4, 5\), but the model reads 4x4"
    ):
        schema.encode(grey((4, 4), (4, 5), (4, 4)))
    with pytest.raises(DatasetError, match="row 2: the image has shape 4x5, the first one 4x4"):
        infer_schema(grey((4, 4), (4, 4), (4, 5)), target="label")
    frame = grey((4, 4), (4, 4), (4, 4))
    frame.at[1, "image"] = None
    with pytest.raises(DatasetError, match="row 1: holds no image"):
        infer_schema(frame, target="label")


@pytest.mark.parametrize("value", ["", "dark", None, "inf", "1e300"])
def test_a_pixel_that_is_no_number_is_named(value: str | None) -> None:
    frame = pd.DataFrame({"p": ["1", "2"], "q": ["3", "4"], "label": ["a", "b"]}, dtype=object)
    schema = infer_schema(frame, target="label", image=(1, 1, 2))
    frame.at[1, "q"] = value
    with pytest.raises(DatasetError, match="column 'q', row 1: a pixel must be a finite number"):
        schema.encode(frame)


def test_the_number_of_pixel_columns_must_fit() -> None:
    frame = pd.DataFrame({"p": ["1", "2"], "q": ["3", "4"], "label": ["a", "b"]})
    with pytest.raises(DatasetError, match=r"has 2 columns .* an image of 2x2 with 1 channels has 4 pixels"):
        infer_schema(frame, target="label", image=(1, 2, 2))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"kind": "text"}, "a text, and no other, has a tokenizer"),
        ({"kind": "numeric", "length": 3}, "a text, and no other"),
        ({"kind": "text", "tokenizer": "words", "vocabulary": ("a", "a"), "length": 3}, "a word is listed twice"),
        ({"kind": "image"}, "an image, and no other, has a shape"),
        ({"kind": "image", "shape": (1, 2, 2), "columns": ("p", "q")}, "must name each of its 4 pixels' columns"),
        ({"kind": "image", "shape": (1, 2, 2), "missing": True}, "no cell for a missing value"),
        ({"kind": "image", "shape": (9, 40_000, 40_000)}, "at most 16,777,216 pixels"),
    ],
)
def test_features_that_contradict_themselves(change: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Feature.model_validate({"name": "x", **change})


def test_a_text_is_the_only_feature() -> None:
    text = Feature(name="t", kind="text", tokenizer="words", vocabulary=("a",), length=1)
    with pytest.raises(ValueError, match="must be the only feature"):
        Schema(features=(text, Feature(name="n", kind="numeric")), target=None, task="binary", classes=("a", "b"))


@pytest.mark.parametrize("said", ["28", "0x3", "3x", "axb", "28x28x3x1", "28X28"])
def test_shapes_that_are_none(said: str) -> None:
    with pytest.raises(InputError, match="an image's shape is HEIGHTxWIDTH"):
        image_shape(said)
