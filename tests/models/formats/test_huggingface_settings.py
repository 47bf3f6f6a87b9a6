"""What a config.json states of its networks and their sizes is checked, whatever it holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from auditkit.errors import ModelFileError
from auditkit.models.formats.huggingface_settings import architectures_of, check_settings, first_outputs
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


@pytest.mark.parametrize("size", [-1, 0, 2.5, 1e300, True, "8", {"a": -8}, [8, 0]])
@pytest.mark.parametrize("key", ["n_head", "hidden_size", "d_model", "num_attention_heads", "max_position_embeddings"])
def test_sizes_that_are_no_whole_numbers_of_one_or_more_are_refused(key: str, size: object) -> None:
    """Found by hand: `"n_head": -1` built a network that failed at its first prediction, with a traceback."""
    with pytest.raises(ModelFileError, match=f"config.json: {key} is .* must be a whole number of 1 or more"):
        check_settings("m", {"model_type": "gpt2", key: size})


def test_sizes_that_people_use_pass() -> None:
    check_settings("m", {"n_inner": None, "n_head": 2, "image_size": [8, 8], "hidden_size": 16, "label2id": {"dim": 0}})
    check_settings("m", {"max_relative_positions": -1, "type_vocab_size": 0, "chunk_size_feed_forward": 0})


def test_a_network_that_fails_on_its_first_input_is_refused_in_one_line() -> None:
    with pytest.raises(
        ModelFileError, match=r"m: its network fails on a first text \(.*check the sizes in config"
    ) as said:
        first_outputs("m", lambda: torch.zeros(1, 8).reshape(1, -1, -8))
    assert "\n" not in str(said.value)
    assert first_outputs("m", lambda: 1) == 1
