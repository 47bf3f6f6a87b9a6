"""What a config.json states of its networks is read as a list of texts, whatever it holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditkit.errors import ModelFileError
from auditkit.models.formats.huggingface_settings import architectures_of
from auditkit.models.formats.opening import open_model


@pytest.mark.parametrize("stated", [None, 7, True, 0.5, "GPT2LMHeadModel", {"a": 1}, [7, None, ["a"]]])
def test_architectures_that_are_no_list_of_texts_are_none(stated: object, tmp_path: Path) -> None:
    """Found by `make fuzz`: `"architectures": 7` was a traceback."""
    assert architectures_of({"architectures": stated}) == []
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "architectures": stated}))
    with pytest.raises(ModelFileError) as refused:
        open_model(tmp_path)
    assert "\n" not in str(refused.value)


def test_the_texts_of_a_list_are_the_architectures() -> None:
    assert architectures_of({"architectures": ["BertModel", 1]}) == ["BertModel"]
