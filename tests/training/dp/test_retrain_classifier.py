"""Hugging Face classifiers of texts, images, recordings fine-tuned with privacy: clipping, what moves, the folder."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from languages import save
from recordings import LIBRARY, RATE, made_folder
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn

import auditkit
from auditkit.cli import call
from auditkit.data.dataset import Data, data_from_frame
from auditkit.errors import InputError
from auditkit.models.formats.opening import open_model
from auditkit.models.from_columns import Columns
from auditkit.models.model import Model
from auditkit.tasks.base import task_for
from auditkit.tasks.objectives import CrossEntropy
from auditkit.training.adapters import LowRank, train_only
from auditkit.training.dp import fine_tune
from auditkit.training.dp.clipping import clipper_for
from auditkit.training.dp.per_example import clip_and_sum, looped_gradients
from auditkit.training.dp.retrain import retrain
from auditkit.training.dp.retrain_classifier import OfUnits, Steady
from auditkit.training.dp.row_units import MOST_ROWS, MeanRowLoss, row_units

pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter")

WORDS = ["the", "a", "film", "was", "plot", "great", "lovely", "awful", "boring"]
SIZES: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "id2label": {0: "neg", 1: "pos"}, "label2id": {"neg": 0, "pos": 1},
}  # fmt: skip


def reviews(count: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    texts = [
        " ".join([*rng.choice(WORDS[:5], rng.integers(2, 7)), str(rng.choice(WORDS[5:7] if label else WORDS[7:]))])
        for label in labels
    ]
    return pd.DataFrame({"text": texts, "label": np.array(["neg", "pos"])[labels], "g": rng.choice(["x", "y"], count)})


def bert(folder: Path, seed: int = 0) -> Path:
    """Return a classifier whose encoder and head are drawn."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    raw = Tokenizer(models.WordPiece({piece: code for code, piece in enumerate(pieces)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(seed)
    config = LIBRARY.BertConfig(vocab_size=len(pieces), max_position_embeddings=24, **SIZES)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return save(LIBRARY.BertForSequenceClassification(config), raw, folder, mask_token="[MASK]", **names)


def with_a_fresh_head(folder: Path) -> Path:
    """Train the encoder of a folder on public reviews, and draw its head again."""
    network = LIBRARY.AutoModelForSequenceClassification.from_pretrained(folder)
    frame = reviews(200, seed=1)
    rows = opened(folder, data_from_frame(frame))
    module: Any = rows.module
    inputs = torch.as_tensor(rows.schema.encode(frame))
    labels = torch.tensor((frame["label"] == "pos").to_numpy().astype(int))
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(inputs), labels).backward()
        optimizer.step()
    network.load_state_dict(module.network.state_dict())
    torch.manual_seed(3)
    nn.init.normal_(network.classifier.weight, std=0.02)
    network.eval().save_pretrained(folder)
    return folder


def vit(folder: Path) -> Path:
    torch.manual_seed(0)
    network = LIBRARY.ViTForImageClassification(LIBRARY.ViTConfig(image_size=8, patch_size=4, **SIZES))
    network.eval().save_pretrained(folder)
    processor = {"size": {"height": 8, "width": 8}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def images(count: int) -> Data:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    cells = [(rng.integers(0, 156, (8, 8, 3)) + 100 * label).astype(np.uint8) for label in labels]
    frame = pd.DataFrame({"label": np.array(["neg", "pos"])[labels]})
    frame["image"] = pd.Series(cells, dtype=object)
    return data_from_frame(frame)


def recordings(count: int, seconds: tuple[float, ...] = (0.25,)) -> Data:
    rng = np.random.default_rng(0)
    waves = [rng.normal(scale=0.1, size=round(RATE * seconds[n % len(seconds)])).astype("f4") for n in range(count)]
    frame = pd.DataFrame({"label": [("high", "low")[n % 2] for n in range(count)], "sample_rate": RATE})
    frame["audio"] = pd.Series(waves, dtype=object)
    return data_from_frame(frame)


def opened(folder: Path, data: Data) -> Model:
    columns = Columns(read_rows=lambda: data, read_training=lambda: None, target="label", text="text")
    return open_model(folder, columns=columns)


def of_kind(kind: str, folder: Path) -> tuple[Path, Data]:
    if kind == "bert":
        return bert(folder), data_from_frame(reviews(24))
    if kind == "vit":
        return vit(folder), images(24)
    return made_folder(folder, kind), recordings(24, (0.25,) if kind == "wav2vec2" else (0.2, 0.25, 0.4))


@pytest.mark.parametrize("kind", ["bert", "vit", "ast", "whisper", "wav2vec2"])
def test_rows_are_clipped_as_by_a_float64_loop(kind: str, tmp_path: Path) -> None:
    folder, data = of_kind(kind, tmp_path / kind)
    model = opened(folder, data)
    network = copy.deepcopy(model.module)
    torch.manual_seed(0)
    train_only(network, (), rank=3, beside=fine_tune.output_layers(network))
    for layer in network.modules():
        if isinstance(layer, LowRank):
            layer.up.weight.data.normal_(std=0.1)
    learner, objective = Steady(network), task_for(model.schema).objective()
    inputs = torch.as_tensor(model.schema.encode(data.frame))[:6]
    targets = torch.as_tensor(objective.targets(task_for(model.schema).encode_labels(data.frame)))[:6]
    precise = inputs.double() if inputs.is_floating_point() else inputs
    exact = looped_gradients(copy.deepcopy(learner).double(), precise, targets, objective)
    norms = torch.stack([part.flatten(1).norm(dim=1) for part in exact]).norm(dim=0)
    expected = clip_and_sum(exact, float(norms.median()))
    with clipper_for(learner, inputs, targets, objective=objective) as clipper:
        assert clipper.way == "bookkeeping", clipper.passed_over
        sums = clipper.clipped_sum(inputs, targets, float(norms.median()))
    away = torch.cat([(one - other).flatten() for one, other in zip(sums, expected, strict=True)]).norm()
    assert away < 1e-4 * norms.median()


def test_the_command_fine_tunes_a_classifier_and_writes_a_folder_that_is_audited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, train = with_a_fresh_head(bert(tmp_path / "base")), tmp_path / "train.csv"
    capsys.readouterr()
    frame = reviews(400)
    frame.loc[:4, "label"] = None
    frame.to_csv(train, index=False)
    reviews(200, seed=5).to_csv(tmp_path / "test.csv", index=False)
    command = ["retrain", str(base), "--train-dataset", str(train), "--target", "label", "--text", "text"]
    command += ["--lora-rank", "4", "--epochs", "6", "--epsilon", "8", "--out", str(tmp_path)]
    assert call(command) == 0
    shown = capsys.readouterr().out
    assert "5 rows without a label were left out." in shown
    assert "which this command declares public" in shown
    assert "Protected: one row." in shown
    folder = tmp_path / "base-eps8"
    stated = json.loads((folder / "privacy_ledger.json").read_text(encoding="utf-8"))
    assert stated["ledger"]["row_count"] == stated["training"]["row_count"] == 395
    assert stated["ledger"]["clipping"] == "bookkeeping"
    assert stated["ledger"]["epsilon"] <= 8
    data = data_from_frame(reviews(200, seed=5))
    before, after = (opened(place, data) for place in (base, folder))
    weights = before.module.state_dict()
    moved = {name for name, value in after.module.state_dict().items() if not torch.equal(value, weights[name])}
    assert {"network.classifier.weight", "network.classifier.bias", "network.bert.pooler.dense.weight"} < moved
    assert not any("embeddings" in name or "LayerNorm" in name or "dense.bias" in name for name in moved)
    again = LIBRARY.AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
    assert torch.equal(again.classifier.weight, after.module.state_dict()["network.classifier.weight"])
    only = ["performance", "fairness", "private_training"]
    report = auditkit.audit(folder, tmp_path / "test.csv", target="label", text="text", sensitive=["g"], only=only)
    assert [one.error for one in report.outcomes if one.error] == []
    accuracy = report["performance.accuracy"].value
    assert accuracy is not None
    assert accuracy > 0.9, "its head knew nothing"
    private = next(one for one in report.outcomes if one.auditor == "private_training")
    assert private.measurements, private.reason
    assert call(command) == 0
    assert "is kept" in capsys.readouterr().out
    assert call([*command, "--delta", "1e-6"]) == 2
    assert "is not of this retraining" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["vit", "ast"])
def test_classifiers_of_images_and_recordings_are_fine_tuned(kind: str, tmp_path: Path) -> None:
    folder, data = of_kind(kind, tmp_path / kind)
    done = retrain(opened(folder, data), data, epsilon=8.0, lora_rank=3, epochs=2, out=tmp_path / "out")
    path, ledger = done.files[0]
    assert path.name == f"{kind}-eps8"
    assert ledger.epsilon <= 8
    stated = opened(path, data).stated_training
    assert stated is not None
    assert stated.of_these_weights


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "pass --lora-rank 8"),
        (["--lora-rank", "4", "--unit", "g"], "g has 2 values, and at least 10 units are needed"),
        (["--lora-rank", "4", "--unit", "author"], "unit column 'author' is not in"),
        (["--lora-rank", "4", "--dataset", "TRAIN", "--sensitive", "h"], "has no column 'h'"),
        (["--lora-rank", "4", "--target", "g"], "target must name one column"),
        (["--lora-rank", "4", "--text", "body"], "text column 'body' is not in"),
        (["--lora-rank", "400"], "no frozen Linear layer has more inputs and outputs"),
        (["--lora-rank", "4", "--public-init", "OTHER"], "is not of the architecture of base"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = tmp_path / "train.csv"
    reviews(40).to_csv(train, index=False)
    base, other = bert(tmp_path / "base"), bert(tmp_path / "other")
    network = LIBRARY.AutoModelForSequenceClassification.from_pretrained(other)
    network.classifier = nn.Linear(16, 3)
    network.config.id2label = {0: "neg", 1: "pos", 2: "none"}
    network.save_pretrained(other)
    said = {"TRAIN": str(train), "OTHER": str(other)}
    command = ["retrain", str(base), "--train-dataset", str(train), "--target", "label", "--epsilon", "8"]
    capsys.readouterr()  # the bars of transformers
    assert call([*command, "--out", str(tmp_path / "o"), *(said.get(one, one) for one in options)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_all_rows_of_an_author_are_protected_and_each_budget_has_its_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = bert(tmp_path / "base")
    frame = reviews(120)
    frame["author"] = pd.Series([f"a{n % 43}" if n % 40 else None for n in range(len(frame))], dtype=object)
    frame.to_csv(tmp_path / "train.csv", index=False)
    reviews(90, seed=5).to_csv(tmp_path / "test.csv", index=False)
    command = ["retrain", str(base), "--train-dataset", str(tmp_path / "train.csv"), "--target", "label"]
    command += ["--lora-rank", "4", "--epochs", "2", "--epsilon", "8", "--out", str(tmp_path), "--unit", "author"]
    capsys.readouterr()
    assert call([*command, "--dataset", str(tmp_path / "test.csv"), "--sensitive", "g"]) == 0
    shown = capsys.readouterr().out
    assert "3 rows have no author: all of them together are one unit." in shown
    assert "Protected: all rows with one value of author." in shown
    assert "accuracy" in shown
    rows = [[cell.strip() for cell in line.split("│")] for line in shown.splitlines() if "│" in line]
    names = [row[1] for row in rows]
    assert {"before", "without privacy", "epsilon 8"} <= set(names)
    stated = json.loads((tmp_path / "base-eps8" / "privacy_ledger.json").read_text(encoding="utf-8"))
    assert stated["ledger"]["row_count"] == 44
    assert stated["training"] == stated["training"] | {"row_count": 120, "unit": "author"}
    assert stated["ledger"]["unit_of_privacy"] == "all rows with one value of author"
    # The cost is the accuracy that transformers gives.
    after = opened(tmp_path / "base-eps8", data_from_frame(reviews(90, seed=5)))
    with torch.inference_mode():
        said = after.module(torch.as_tensor(after.schema.encode(reviews(90, seed=5)))).argmax(dim=1).numpy()
    right = (np.array(["neg", "pos"])[said] == reviews(90, seed=5)["label"]).mean()
    assert rows[names.index("epsilon 8")][2].startswith(f"{right:.3f} (")
    # The audit of the written model reports each budget's cost, once it is what the model has on the same rows.
    frontier = tmp_path / "frontier.json"
    assert f"What each budget costs is in {frontier}" in shown.replace("\n", " ")
    costs = audited(tmp_path, frontier).measurement("private_training.accuracy", ("training",))
    assert costs is not None
    assert costs.unit == "rate"
    assert {part.group.key: part.value for part in costs.slices}["epsilon 8",] == pytest.approx(right)
    edited = json.loads(frontier.read_text())
    for one in edited["costs"]:
        one.update(value=0.99, low=None, high=None)
    (tmp_path / "edited.json").write_text(json.dumps(edited))
    refused = audited(tmp_path, tmp_path / "edited.json").measurement("private_training.accuracy")
    assert refused is not None
    assert f"states accuracy 0.9900 for the audited model, which has {right:.4f}" in str(refused.reason)


def audited(place: Path, frontier: Path) -> auditkit.Report:
    """Return the audit of a retrained model on the held-out rows, with what its retraining stated of them."""
    return auditkit.audit(
        place / "base-eps8",
        place / "test.csv",
        target="label",
        text="text",
        only=["private_training"],
        settings={"private_training": {"frontier": str(frontier)}},
    )


def test_a_unit_weighs_as_much_as_the_mean_of_its_rows_and_is_clipped_as_one(tmp_path: Path) -> None:
    """By book-keeping as by one backward pass for each unit; the places that are left have no say."""
    frame = reviews(30)
    model = opened(bert(tmp_path / "base"), data_from_frame(frame))
    network: Any = copy.deepcopy(model.module)
    train_only(network, (), rank=2)
    inputs, labels = model.schema.encode(frame), (frame["label"] == "pos").to_numpy().astype(int)
    owners = np.array([0] * 20 + [1] * 3 + [2] * 7)
    units = row_units(inputs, labels, owners)
    assert units.cut_count == 20 - MOST_ROWS
    assert units.labels.shape == (3, MOST_ROWS)
    assert (units.labels >= 0).sum(axis=1).tolist() == [MOST_ROWS, 3, 7]
    objective, learner = MeanRowLoss(CrossEntropy()), OfUnits(network)
    rows, targets = torch.as_tensor(units.inputs), torch.as_tensor(units.labels)
    by_hand = []
    for owner in range(3):
        own = np.flatnonzero(owners == owner)[:MOST_ROWS]
        outputs = Steady(network)(torch.as_tensor(inputs[own]))
        loss = nn.functional.cross_entropy(outputs, torch.as_tensor(labels[own]))
        wanted = [p for p in network.parameters() if p.requires_grad]
        by_hand.append(
            [
                g if g is not None else torch.zeros_like(p)
                for g, p in zip(torch.autograd.grad(loss, wanted, allow_unused=True), wanted, strict=True)
            ]
        )
    norms = [float(torch.cat([part.flatten() for part in one]).norm()) for one in by_hand]
    bound = float(np.median(norms))
    factors = [min(1.0, bound / norm) for norm in norms]
    expected = [
        torch.stack([factor * one[place] for factor, one in zip(factors, by_hand, strict=True)]).sum(dim=0)
        for place in range(len(by_hand[0]))
    ]
    with clipper_for(learner, rows, targets, objective=objective) as clipper:
        assert clipper.way == "bookkeeping", clipper.passed_over
        sums = clipper.clipped_sum(rows, targets, bound)
    for one, other in zip(sums, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * bound)


def test_a_public_model_is_where_the_training_begins(tmp_path: Path) -> None:
    data = data_from_frame(reviews(60))
    model, public = opened(bert(tmp_path / "base"), data), opened(bert(tmp_path / "public", seed=1), data)
    done = retrain(model, data, public=public, epsilon=8.0, lora_rank=4, epochs=1, out=tmp_path / "out")
    path, ledger = done.files[0]
    assert str(public.path) in ledger.initial_weights
    assert not done.notes
    weights = opened(path, data).module.state_dict()
    name = "network.bert.embeddings.word_embeddings.weight"
    assert torch.equal(weights[name], public.module.state_dict()[name])


def test_recordings_of_several_lengths_are_refused_where_they_cannot_be_clipped_together(tmp_path: Path) -> None:
    data = recordings(24, (0.2, 0.25, 0.4))
    model = opened(made_folder(tmp_path / "net", "wav2vec2"), data)
    with pytest.raises(InputError, match="model net: gradients cannot be clipped row by row"):
        retrain(model, data, epsilon=8.0, lora_rank=3, epochs=1, out=tmp_path / "out")


def test_a_folder_that_is_not_what_was_trained_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The merge forgets the additions."""

    def forgets(module: nn.Module) -> None:
        for owner in list(module.modules()):
            for name, layer in list(owner.named_children()):
                if isinstance(layer, LowRank):
                    setattr(owner, name, layer.base)

    monkeypatch.setattr(fine_tune, "merge_adapters", forgets)
    data = data_from_frame(reviews(60))
    model = opened(bert(tmp_path / "base"), data)
    with pytest.raises(InputError, match=r"was trained and did not change|away from those of the network"):
        retrain(model, data, epsilon=8.0, lora_rank=4, epochs=1, out=tmp_path / "out")
    assert not (tmp_path / "out" / "base-eps8").exists()
