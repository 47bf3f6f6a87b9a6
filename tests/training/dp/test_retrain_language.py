"""Language models fine-tuned with privacy: units, clipping, what moves, what is written, and planted faults."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from languages import bert, fit, gpt2, llama, opened, sentences
from torch import nn

from auditkit.auditors.privacy.epsilon_bounds import OneRun, one_run_lower_bound
from auditkit.cli import call
from auditkit.data.canaries import draw_canaries
from auditkit.data.dataset import data_from_frame, read_data
from auditkit.models.architectures import build
from auditkit.models.capabilities import CausalLanguageModel
from auditkit.models.formats.opening import open_model
from auditkit.schema.pieces import piece_tokenizer
from auditkit.stats.exposure import combined_p_value, rank_p_values
from auditkit.training.adapters import LowRank, merge_adapters, train_only
from auditkit.training.dp import clip_bookkeeping, dp_sgd, fine_tune
from auditkit.training.dp.clipping import clipper_for
from auditkit.training.dp.dp_sgd import fit_private
from auditkit.training.dp.noise import Noise
from auditkit.training.dp.per_example import clip_and_sum, looped_gradients, trainable
from auditkit.training.dp.plan import PrivateSettings
from auditkit.training.dp.retrain import retrain
from auditkit.training.dp.token_losses import NOTHING, MeanTokenLoss, TokenLosses
from auditkit.training.dp.units import Units, units_of

CPU = torch.device("cpu")
TEXTS = sentences(48, seed=1)
AUTHORS = [f"a{place // 3}" for place in range(48)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = gpt2(tmp_path_factory.mktemp("language") / "base", sentences(100, seed=9))
    fit(folder, sentences(60, seed=9), epochs=1)
    return folder


@pytest.fixture(scope="module")
def train(base: Path) -> Path:
    path = base.parent / "train.jsonl"
    rows = [
        {"text": text, "author": author, "g": "xy"[len(text) % 2]} for text, author in zip(TEXTS, AUTHORS, strict=True)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def units(module: nn.Module, pieces: str, unit: str = "author") -> Units:
    return units_of(
        data_from_frame(pd.DataFrame({"text": TEXTS, "author": AUTHORS})), "text", pieces, module, unit=unit
    )


def adapted(module: Any, rank: int = 3) -> TokenLosses:
    network = copy.deepcopy(module)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        train_only(network, (), rank=rank, beside=fine_tune.output_layers(network))
        for layer in network.modules():
            if isinstance(layer, LowRank):
                layer.up.weight.data.normal_(std=0.1)
    return TokenLosses(network.eval(), masks=network.mask_token is not None)


def test_units_are_texts_or_all_texts_of_an_author(base: Path) -> None:
    model = opened(base, TEXTS)
    pieces = model.schema.features[0].pieces or ""
    alone, together = (units(model.module, pieces, unit) for unit in ("record", "author"))
    assert (len(alone.rows), len(together.rows)) == (48, 16)
    assert together.counts.sum() == alone.counts.sum(), "each token is predicted once"
    read, wanted = alone.rows[0, 0]
    ids = piece_tokenizer(pieces).encode(min(TEXTS, key=lambda text: len(piece_tokenizer(pieces).encode(text).ids))).ids
    assert read[read != NOTHING].tolist() == [0, *ids]
    assert wanted[wanted != NOTHING].tolist() == [*ids, 0]
    assert not together.cut_tokens


def test_long_texts_are_cut_and_what_a_unit_contributes_is_bounded(base: Path) -> None:
    model = opened(base, TEXTS)
    pieces = model.schema.features[0].pieces or ""
    frame = pd.DataFrame({"text": [" ".join(TEXTS * 9), *TEXTS, None, " "], "author": ["long", *AUTHORS, "b", None]})
    found = units_of(data_from_frame(frame), "text", pieces, model.module, unit="author")
    assert (found.windows, found.length) == (32, 64)
    assert (found.rows != NOTHING).sum(axis=(1, 2, 3)).max() == 2 * 2048
    assert found.cut_tokens > 1000
    assert found.empty_count == 2
    unnamed = frame.assign(author=np.array([None, *AUTHORS[:40], *[None] * 10], dtype=object))
    found = units_of(data_from_frame(unnamed), "text", pieces, model.module, unit="author")
    assert found.without_unit == 9
    assert len(found.rows) == 15, "texts without an author are one unit"


@pytest.mark.parametrize("make", ["gpt2", "llama", "bert", "gpt"])
def test_units_are_clipped_as_by_a_float64_loop(make: str, tmp_path: Path, base: Path) -> None:
    """With adapters on Linear and Conv1D layers, several texts a unit, tied output weights, and hidden tokens."""
    if make == "gpt":
        torch.manual_seed(0)
        pieces = opened(base, TEXTS).schema.features[0].pieces or ""
        module: Any = build("gpt", {"vocabulary_size": 400, "length": 40, "width": 16, "layers": 2, "heads": 2})
    else:
        folder = base if make == "gpt2" else llama(tmp_path / "m", TEXTS) if make == "llama" else bert(tmp_path / "m")
        model = opened(folder, TEXTS)
        module, pieces = model.module, model.schema.features[0].pieces or ""
    found = units(module, pieces)
    learner, objective = adapted(module), MeanTokenLoss(module.mask_token)
    rows, counts = torch.as_tensor(found.rows), torch.as_tensor(found.counts).float()
    torch.manual_seed(3)
    batch = objective.batch(rows[:6], counts[:6])
    exact = looped_gradients(copy.deepcopy(learner).double(), *batch, objective)
    norms = torch.stack([part.flatten(1).norm(dim=1) for part in exact]).norm(dim=0)
    expected = clip_and_sum(exact, float(norms.median()))
    with clipper_for(learner, rows, counts, objective=objective) as clipper:
        assert clipper.way == "bookkeeping", clipper.passed_over
        sums = clipper.clipped_sum(*batch, float(norms.median()))
    away = torch.cat([(one - other).flatten() for one, other in zip(sums, expected, strict=True)]).norm()
    assert away < 1e-5 * norms.median()


def test_a_whole_small_network_is_clipped_unit_by_unit(base: Path) -> None:
    """Fresh training of auditkit's gpt: its embedding is its output layer too."""
    torch.manual_seed(0)
    pieces = opened(base, TEXTS).schema.features[0].pieces or ""
    module = build("gpt", {"vocabulary_size": 400, "length": 40, "width": 8, "layers": 1, "heads": 2, "dropout": 0.0})
    found, objective = units(module, pieces), MeanTokenLoss()
    learner = TokenLosses(module.eval(), masks=False)
    rows, counts = torch.as_tensor(found.rows[:8]), torch.as_tensor(found.counts[:8]).float()
    exact = looped_gradients(copy.deepcopy(learner).double(), rows, counts, objective)
    expected = clip_and_sum(exact, 0.5)
    with clipper_for(learner, rows, counts, objective=objective) as clipper:
        sums = clipper.clipped_sum(rows, counts, 0.5)
    away = torch.cat([(one - other).flatten() for one, other in zip(sums, expected, strict=True)]).norm()
    assert away < 1e-5


def test_hidden_tokens_are_drawn_anew_and_alone_learnt(tmp_path: Path) -> None:
    model = opened(bert(tmp_path / "m"), TEXTS)
    found = units(model.module, model.schema.features[0].pieces or "", "record")
    objective = MeanTokenLoss(model.module.mask_token)  # type: ignore[arg-type]
    rows, counts = torch.as_tensor(found.rows), torch.as_tensor(found.counts).float()
    torch.manual_seed(0)
    shown, hidden_counts = objective.batch(rows, counts)
    wanted = shown[:, :, 1] != NOTHING
    assert set(shown[:, :, 0][wanted].tolist()) == {objective.hidden}
    assert torch.equal(wanted.flatten(1).sum(dim=1).clamp(min=1).float(), hidden_counts)
    share = float(wanted.sum() / counts.sum())
    assert 0.1 < share < 0.2
    again = objective.batch(rows, counts)[0]
    assert not torch.equal(again, shown)


def test_the_command_fine_tunes_a_folder_and_writes_one_that_opens(
    base: Path, train: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["retrain", str(base), "--train-dataset", str(train), "--lora-rank", "3", "--unit", "author"]
    command += ["--epochs", "1", "--sensitive", "g", "--dataset", str(train), "--out", str(tmp_path)]
    assert call([*command, "--epsilon", "8"]) == 0
    shown = capsys.readouterr().out
    assert "Protected: all texts with one value of author." in shown
    for line in ("before", "without privacy", "epsilon 8"):
        assert line in shown
    folder = tmp_path / "base-eps8"
    stated = json.loads((folder / "privacy_ledger.json").read_text(encoding="utf-8"))
    assert stated["ledger"]["row_count"] == 16
    assert stated["ledger"]["unit_of_privacy"] == "all texts with one value of author"
    assert stated["training"]["unit"] == "author"
    before, after = (opened(place, TEXTS).module.state_dict() for place in (base, folder))
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    layers = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert moved == {f"network.transformer.h.{number}.{layer}.weight" for number in range(2) for layer in layers}
    assert torch.equal(after["network.lm_head.weight"], before["network.transformer.wte.weight"])
    assert call([*command, "--epsilon", "8"]) == 0
    assert "is kept" in capsys.readouterr().out
    assert call([*command, "--epsilon", "8", "--delta", "1e-6"]) == 2
    assert "is not of this retraining" in capsys.readouterr().err


def test_a_file_of_auditkit_is_fine_tuned_or_trained_from_fresh_weights(train: Path, tmp_path: Path) -> None:
    pd.DataFrame({"text": sentences(40, seed=7)}).to_csv(tmp_path / "public.csv", index=False)
    small = '{"width": 16, "layers": 1, "heads": 2, "vocabulary_size": 300}'
    command = ["train", "--task", "language", "--dataset", str(tmp_path / "public.csv"), "--text", "text", "--quiet"]
    assert call([*command, "--epochs", "1", "--architecture-args", small, "--out", str(tmp_path / "m.pt")]) == 0
    model = open_model(tmp_path / "m.pt")
    data = read_data(train)
    for rank, out in ((2, tmp_path / "part"), (None, tmp_path / "whole")):
        done = retrain(model, data, epsilon=8.0, lora_rank=rank, epochs=1, out=out)
        path, ledger = done.files[0]
        again = open_model(path)
        assert again.card is not None
        assert again.card.ledger is not None
        assert again.card.training["unit"] == "record"
        assert ledger.row_count == 48
        assert ledger.unit_of_privacy == "one text"
        changed = [
            name
            for name, value in again.module.state_dict().items()
            if not torch.equal(value, model.module.state_dict()[name])
        ]
        assert any("tokens" in name for name in changed) == (rank is None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "pass --lora-rank 8"),
        (["--lora-rank", "3", "--unit", "writer"], "unit column 'writer' is not in"),
        (["--lora-rank", "3", "--text", "body"], "text column 'body' is not in"),
        (["--lora-rank", "500"], "no frozen Linear layer has more inputs and outputs"),
        (["--lora-rank", "3", "--batch-size", "1000"], "batch_size must be at most the 48 rows"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(
    base: Path, train: Path, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["retrain", str(base), "--train-dataset", str(train), "--epsilon", "8", "--out", str(tmp_path / "o")]
    assert call([*command, *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_a_model_that_is_not_what_was_trained_is_refused(
    base: Path, train: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opacus issue 820: plausible runs whose merged models were unusable. Here the merge forgets the additions."""

    def forgets(module: nn.Module) -> None:
        for owner in list(module.modules()):
            for name, layer in list(owner.named_children()):
                if isinstance(layer, LowRank):
                    setattr(owner, name, layer.base)

    monkeypatch.setattr(fine_tune, "merge_adapters", forgets)
    model = opened(base, TEXTS)
    with pytest.raises(Exception, match=r"was trained and did not change|away from those of the network"):
        retrain(model, read_data(train), epsilon=8.0, lora_rank=3, epochs=1, out=tmp_path)
    assert not (tmp_path / "base-eps8").exists()
    monkeypatch.setattr(fine_tune, "merge_adapters", merge_adapters)


def small_run(**more: object) -> tuple[OneRun, Any]:
    """Train a small GPT on random tokens, with planted directions, and attack it."""
    torch.manual_seed(0)
    module = build("gpt", {"vocabulary_size": 50, "length": 12, "width": 16, "layers": 1, "heads": 2, "dropout": 0.0})
    ids = np.random.default_rng(0).integers(1, 50, (300, 1, 13))
    rows = np.stack([ids[:, :, :-1], ids[:, :, 1:]], axis=2)
    found: list[OneRun] = []
    settings: dict[str, Any] = {"epsilon": 1.0, "delta": 1e-4, "epochs": 4, "seed": 1, "batch_size": 8, **more}
    ledger = fit_private(
        TokenLosses(module, masks=False),
        rows,
        np.full(300, 12),
        PrivateSettings(canaries=500, max_grad_norm=1.0, **settings),
        device=CPU,
        objective=MeanTokenLoss(),
        on_canaries=lambda seen: found.append(
            one_run_lower_bound(seen.observed, seen.included, delta=1e-4, level=0.95)
        ),
    )
    return found[0], ledger


def test_a_correct_training_of_a_language_model_is_not_flagged() -> None:
    run, ledger = small_run(epochs=2)
    assert run.bound <= ledger.epsilon < run.ceiling


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("batch factor", marks=pytest.mark.slow),
        "divided twice",
        "not Poisson",
        "off in the last step",
    ],
)
def test_planted_faults_of_the_training_of_a_language_model_are_caught(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, calls = Noise.normal, 0
    batch, epochs, steps = (75, 4, 16) if fault == "off in the last step" else (8, 2, 75)

    def faulty(self: Noise, count: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        nonlocal calls
        calls += 1
        factor = {"batch factor": 1 / 8, "divided twice": 1 / 64}.get(fault, float(calls < steps))
        return honest(self, count, dtype) * factor

    if fault == "not Poisson":
        monkeypatch.setattr(dp_sgd, "poisson_sample", lambda count, rate, generator: torch.arange(count))
    else:
        monkeypatch.setattr(Noise, "normal", faulty)
    run, ledger = small_run(batch_size=batch, epochs=epochs)
    assert ledger.steps == steps
    assert run.bound > ledger.epsilon


def test_clipping_the_mean_instead_of_each_gradient_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_mean(norms: torch.Tensor, largest: float) -> torch.Tensor:
        return (largest / norms.mean()).clamp(max=1).expand_as(norms)

    monkeypatch.setattr(clip_bookkeeping, "clipping_factors", of_mean)
    _, ledger = small_run(epochs=1)
    assert ledger.clipping != "bookkeeping"
    assert "clipping norms away from a loop" in ledger.clipping_passed_over[0]


def test_a_step_may_go_through_the_network_in_parts(base: Path) -> None:
    model = opened(base, TEXTS)
    found = units(model.module, model.schema.features[0].pieces or "", "record")
    ends = []
    for physical in (None, 5):
        torch.manual_seed(1)
        learner = adapted(model.module)
        settings = PrivateSettings(epsilon=8.0, epochs=1, seed=3, physical_batch_size=physical, max_grad_norm=1.0)
        fit_private(learner, found.rows, found.counts, settings, device=CPU, objective=MeanTokenLoss())
        ends.append(torch.cat([parameter.detach().flatten() for parameter in trainable(learner)]))
    assert torch.allclose(ends[0], ends[1], atol=1e-5)


@pytest.mark.slow
def test_a_secret_of_16_texts_is_found_at_a_budget_a_record_and_not_at_one_an_author(tmp_path: Path) -> None:
    """The budget of a text does not cover what stands in 16 of them; that of all texts of an author does."""
    public, made = draw_canaries(200, 1, [1], seed=99), draw_canaries(8, 8, [16], seed=3)
    known = [*sentences(300, seed=9), *(public.text(one) for one in public.canaries)]
    pd.DataFrame({"text": known}).to_csv(tmp_path / "public.csv", index=False)
    small = '{"width": 64, "layers": 2, "heads": 4, "vocabulary_size": 400, "dropout": 0.0}'
    command = ["train", "--task", "language", "--dataset", str(tmp_path / "public.csv"), "--text", "text", "--quiet"]
    assert call([*command, "--epochs", "10", "--architecture-args", small, "--out", str(tmp_path / "m.pt")]) == 0
    rows = [(text, f"a{place}") for place, text in enumerate(sentences(300, seed=1))]
    rows += [(made.text(one), one.name) for one in made.canaries for _ in range(one.repetitions)]
    frame = pd.DataFrame(rows, columns=["text", "author"]).sample(frac=1, random_state=0)
    frame.to_json(tmp_path / "train.jsonl", orient="records", lines=True)
    model, data = open_model(tmp_path / "m.pt"), read_data(tmp_path / "train.jsonl")
    found = {}
    for unit in ("record", "author"):
        done = retrain(model, data, epsilon=8.0, trainable="*", epochs=15, unit=unit, out=tmp_path / unit)
        able = open_model(done.files[0][0]).require(CausalLanguageModel)
        for times in (0, 16):
            p_values = []
            for one in (canary for canary in made.canaries if canary.repetitions == times):
                texts = [made.text(one, f"{code:04d}") for code in range(10_000)]
                p_values.append(rank_p_values(able.endings(texts, device=CPU)[None], np.array([int(one.code)]))[0])
            found[unit, times] = combined_p_value(np.array(p_values))
    assert found["record", 16] < 1e-3
    assert all(value > 1e-3 for key, value in found.items() if key != ("record", 16)), found
