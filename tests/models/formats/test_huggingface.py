"""Hugging Face folders: a tiny BERT made and trained here is audited; code, pickles and links are refused."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from captum.attr import LayerIntegratedGradients
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

import auditkit
from auditkit.auditors.explainability.methods_text import attribute_words
from auditkit.auditors.explainability.segments import SegmentedRows
from auditkit.auditors.explainability.target_function import TargetFunction
from auditkit.data.dataset import Data
from auditkit.engine.inspect import inspect_model
from auditkit.errors import InputError
from auditkit.modalities.text import without_words
from auditkit.models.formats import huggingface
from auditkit.models.formats.opening import open_model
from auditkit.models.from_columns import Columns
from auditkit.models.operations import operations_per_row
from auditkit.models.pieces import PieceNetwork
from auditkit.schema.pieces import PieceTokenizer
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature
from auditkit.schema.text import words_of_pieces
from auditkit.tasks.base import task_for

GOOD, BAD = ["great", "lovely", "superb"], ["awful", "boring", "dreadful"]
REST = ["the", "a", "film", "was", "plot", "acting", "and", "music", "story", "it"]
TEXT = Feature(name="text", kind="text", tokenizer="words", vocabulary=tuple(REST), length=12)
SCHEMA = Schema(features=(TEXT,), target="label", task="binary", classes=("neg", "pos"))


def reviews(count: int = 160, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    texts = []
    for label in labels:
        words = rng.choice(REST, size=rng.integers(3, 9)).tolist()
        words.insert(int(rng.integers(len(words))), str(rng.choice(GOOD if label else BAD)))
        texts.append(" ".join(words).capitalize() + ".")
    return pd.DataFrame({"text": texts, "label": np.array(["neg", "pos"])[labels], "g": rng.choice(["x", "y"], count)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "gr", "##eat", *REST, *GOOD[1:], *BAD]
    vocabulary = {piece: code for code, piece in enumerate(pieces)}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = transformers.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers gives no types
        tokenizer_object=raw, mask_token="[MASK]", **names
    )
    config = transformers.BertConfig(
        vocab_size=len(pieces), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32, id2label={0: "neg", 1: "pos"}, label2id={"neg": 0, "pos": 1},
    )  # fmt: skip
    torch.manual_seed(0)
    network = transformers.BertForSequenceClassification(config)
    frame = reviews(seed=1)
    batch = tokenizer(frame["text"].tolist(), padding=True, return_tensors="pt", return_token_type_ids=False)
    labels = torch.tensor((frame["label"] == "pos").to_numpy().astype(int))
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        network(**batch, labels=labels).loss.backward()
        optimizer.step()
    place = tmp_path_factory.mktemp("hf") / "tiny"
    network.eval()  # type: ignore[no-untyped-call]  # transformers gives no types
    network.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def test_a_fine_tuned_bert_says_what_transformers_says(folder: Path) -> None:
    frame = reviews()
    report = auditkit.audit(
        folder, frame, target="label", sensitive=["g"], text="text", only=["performance", "explainability"]
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
    with torch.no_grad():
        inputs = tokenizer(frame["text"].tolist(), padding=True, return_tensors="pt", return_token_type_ids=False)
        said = network(**inputs).logits.argmax(dim=1).numpy()
    accuracy = report.measurement("performance.accuracy", ())
    assert accuracy is not None
    assert accuracy.value is not None
    assert accuracy.value == pytest.approx(float((np.array(["neg", "pos"])[said] == frame["label"]).mean()))
    assert accuracy.value > 0.9
    outcome = next(one for one in report.outcomes if one.auditor == "explainability")
    assert outcome.error is None
    assert outcome.reason is None
    shares = report.measurement("explainability.word_attribution_share", ("word",))
    assert shares is not None
    assert not {"gr", "##eat"} & {part.group.key[0] for part in shares.slices}, "they are pieces of one word"
    assert report.subject.model is not None
    assert report.subject.model.kind == "Hugging Face"
    assert len(report.subject.model.sha256 or "") == 64
    assert "nothing of the folder was run" in report.subject.model.trust


def test_the_pieces_of_a_word_are_told_by_the_tokenizer(folder: Path) -> None:
    pieces = (folder / "tokenizer.json").read_text()
    found = words_of_pieces("The Great film.", pieces)
    assert found == [(0, "the"), (1, "great"), (1, "great"), (2, "film"), (3, ".")]
    assert words_of_pieces("", pieces) == []


def test_a_text_costs_what_its_own_pieces_do_and_gets_the_same_logits_beside_longer_ones(folder: Path) -> None:
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
    module = PieceNetwork(network, PieceTokenizer((folder / "tokenizer.json").read_text(encoding="utf-8")))
    ids = torch.from_numpy(np.random.default_rng(0).integers(2, 12, (6, 24)))
    for row, count in enumerate((9, 24, 1, 0, 8, 17)):
        ids[row, count:] = 0
    with torch.inference_mode():
        together = module(ids)
        alone = torch.cat([module(ids[row : row + 1]) for row in range(6)])
    with torch.no_grad():
        padded = module(ids)  # as hooks see it: all rows of one length, at once
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together, padded)
    cost = operations_per_row(module, ids)
    assert cost == operations_per_row(module, torch.cat([ids, torch.zeros(6, 6, dtype=ids.dtype)], dim=1))
    assert operations_per_row(module, ids[4:5]) < cost < operations_per_row(module, ids[1:2])


def test_attributions_are_those_of_captum_on_the_plain_network(folder: Path) -> None:
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = PieceTokenizer((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokens = torch.tensor([tokenizer.encode("The film was great and lovely").ids])
    mask = tokenizer.token_to_id("[MASK]")
    assert mask is not None
    masked = torch.where((tokens == 2) | (tokens == 3), tokens, mask)

    def margin(ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        return logits[:, 1] - logits[:, 0]

    captum = LayerIntegratedGradients(margin, network.bert.embeddings.word_embeddings)
    expected = captum.attribute(tokens, baselines=masked, n_steps=20, method="gausslegendre").sum(dim=-1)[0, 1:-1]

    module = PieceNetwork(network, tokenizer).eval()
    ids = np.zeros((1, 12), dtype=np.int64)
    ids[0, : tokens.shape[1] - 2] = tokens[0, 1:-1].numpy() + 2
    parts = SegmentedRows(
        decision=TargetFunction(module, task_for(SCHEMA)),
        inputs=ids,
        predicted=np.zeros(1, dtype=np.int64),
        counts=(ids != 0).sum(axis=1),
        width=12,
        delete=without_words,
        device=torch.device("cpu"),
    )
    found = attribute_words("layer_integrated_gradients", parts, steps=20)[0]
    np.testing.assert_allclose(found[: len(expected)], expected.detach().numpy(), atol=1e-4)
    assert not found[len(expected) :].any()


def adapter(place: Path, **settings: object) -> dict[str, torch.Tensor]:
    """Write a LoRA adapter of the query, with a head of its own, and return its tensors."""
    torch.manual_seed(3)
    query = "base_model.model.bert.encoder.layer.0.attention.self.query"
    tensors = {
        f"{query}.lora_A.weight": torch.randn(2, 16),
        f"{query}.lora_B.weight": torch.randn(16, 2),
        "base_model.model.classifier.weight": torch.randn(2, 16),
        "base_model.model.classifier.bias": torch.randn(2),
    }
    place.mkdir()
    described = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "base_model_name_or_path": "someone/bert", **settings}
    (place / "adapter_config.json").write_text(json.dumps(described))
    save_file(tensors, place / "adapter_model.safetensors")
    return tensors


def test_an_adapter_over_the_folder_of_its_base_model_opens(folder: Path, tmp_path: Path) -> None:
    tensors = adapter(tmp_path / "lora")
    frame = reviews(20)
    rows = Data(frame=frame, path=None, sha256=None)
    columns = Columns(read_rows=lambda: rows, read_training=lambda: None, target="label", text="text")
    opened = open_model(tmp_path / "lora", architecture=str(folder), columns=columns)
    base = open_model(folder, columns=columns)
    assert opened.sha256 != base.sha256
    held = {name.removeprefix("network."): value for name, value in opened.module.state_dict().items()}
    before = {name.removeprefix("network."): value for name, value in base.module.state_dict().items()}
    changed = {name for name in held if not torch.equal(held[name], before[name])}
    query = "bert.encoder.layer.0.attention.self.query.weight"
    assert changed == {query, "classifier.weight", "classifier.bias"}
    first, second = (tensors[f"base_model.model.{query[:-7]}.lora_{part}.weight"] for part in "AB")
    assert torch.allclose(held[query], before[query] + 3 * second @ first, atol=1e-5)
    assert torch.equal(held["classifier.bias"], tensors["base_model.model.classifier.bias"])


@pytest.mark.parametrize(
    ("settings", "architecture", "match"),
    [
        ({}, False, "a PEFT adapter over 'someone/bert'; pass the folder of that model as --architecture"),
        ({"peft_type": "IA3"}, True, "a PEFT adapter of kind IA3; merge it with peft"),
        ({"use_dora": True}, True, "a LoRA adapter with use_dora; merge it"),
        ({"r": 2, "fan_in_fan_out": False, "target": "elsewhere"}, True, "pass --text COLUMN"),
    ],
)
def test_adapters_that_cannot_be_merged_are_refused(
    folder: Path, tmp_path: Path, settings: dict[str, object], architecture: bool, match: str
) -> None:
    adapter(tmp_path / "lora", **settings)
    rows = Data(frame=reviews(5), path=None, sha256=None)
    columns = Columns(read_rows=lambda: rows, read_training=lambda: None, target="label")
    with pytest.raises(InputError, match=match):
        open_model(tmp_path / "lora", architecture=str(folder) if architecture else None, columns=columns)


def spoilt(folder: Path, place: Path, what: str) -> Path:
    shutil.copytree(folder, place)
    config = json.loads((place / "config.json").read_text())
    if what == "code":
        config["auto_map"] = {"AutoModel": "evil.Evil"}
    if what == "head":
        config["architectures"] = ["BertForQuestionAnswering"]
    (place / "config.json").write_text(json.dumps(config))
    if what == "pickle":
        (place / "model.safetensors").rename(place / "pytorch_model.bin")
    if what == "slow":
        (place / "tokenizer.json").unlink()
    if what == "link":
        (place / "vocab.txt").symlink_to("/etc/passwd")
    if what == "index":
        (place / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../secret.safetensors"}}')
    if what == "huge index":
        (place / "model.safetensors.index.json").touch()
        os.truncate(place / "model.safetensors.index.json", 10 * 2**30)
    if what == "damaged":
        (place / "model.safetensors").write_bytes(b"\x80\x02nothing")
    if what == "NaN":
        state = load_file(place / "model.safetensors")
        state["classifier.bias"][0] = torch.nan
        save_file(state, place / "model.safetensors", metadata={"format": "pt"})
    return place


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ("code", r"config\.json names code of its own \(auto_map: .*evil\.Evil.*\), which is never run"),
        ("head", "is a BertForQuestionAnswering, and auditkit opens classifiers of texts"),
        ("pickle", r"holds its weights as pickles \(pytorch_model\.bin\); save it with save_pretrained"),
        ("slow", r"has no tokenizer\.json; save its fast tokenizer"),
        ("link", r"vocab\.txt is a link; copy the files"),
        ("index", "names files that are not in the folder"),
        ("huge index", r"index\.json: 10,737,418,240 bytes, and auditkit reads at most"),
        ("damaged", r"model\.safetensors is no safetensors file"),
        ("NaN", r"weight 'classifier\.bias' has 1 values that are NaN or infinite"),
    ],
)
def test_hostile_folders_are_refused(folder: Path, tmp_path: Path, what: str, match: str) -> None:
    place = spoilt(folder, tmp_path / what, what)
    with pytest.raises(auditkit.InputError, match=match):
        auditkit.audit(place, reviews(20), target="label", text="text")
    found = inspect_model(place)
    assert not found.opens
    assert re.search(match, found.problems[0])


def test_what_is_missing_is_asked_for(folder: Path) -> None:
    with pytest.raises(auditkit.InputError, match=r"text must name the column.*pass --text COLUMN"):
        auditkit.audit(folder, reviews(20), target="label")
    with pytest.raises(auditkit.InputError, match="and the model's labels are neg, pos; pass --classes"):
        auditkit.audit(folder, reviews(20).replace({"neg": "bad", "pos": "good"}), target="label", text="text")


def test_a_folder_that_is_changed_while_it_is_read_is_the_one_that_was_hashed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hash and use are of the same bytes, also where a writer puts the first ones back in time for a second look."""
    place = tmp_path / "tiny"
    shutil.copytree(folder, place)
    content = (place / "model.safetensors").read_bytes()
    honest = huggingface._network

    def in_between(*arguments: Any) -> Any:
        (place / "model.safetensors").write_bytes(content[:-400] + bytes(400))
        network = honest(*arguments)
        (place / "model.safetensors").write_bytes(content)
        return network

    rows = Data(reviews(), path=None, sha256=None)
    columns = Columns(read_rows=lambda: rows, read_training=lambda: None, target="label", text="text")
    usual = open_model(place, columns=columns)
    monkeypatch.setattr(huggingface, "_network", in_between)
    opened = open_model(place, columns=columns)
    assert opened.sha256 == usual.sha256
    for key, value in usual.module.state_dict().items():
        assert torch.equal(opened.module.state_dict()[key], value)
