"""Attributions to words and pixels: closed forms, Captum, and what a deletion costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation
from torch import nn

from auditkit.auditors.explainability import methods_image, methods_text, segments
from auditkit.auditors.explainability.segments import SegmentedRows
from auditkit.auditors.explainability.target_function import TargetFunction
from auditkit.errors import NotRun
from auditkit.modalities.image import squares, without_squares
from auditkit.modalities.text import without_words
from auditkit.models.architectures import build
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature
from auditkit.tasks.base import task_for

CPU = torch.device("cpu")
TEXT = Feature(name="t", kind="text", tokenizer="words", vocabulary=tuple("abcdef"), length=5)
BINARY = Schema(features=(TEXT,), target="y", task="binary", classes=("no", "yes"))
IMAGE = Feature(name="image", kind="image", shape=(2, 4, 6))
THREE = Schema(features=(IMAGE,), target="y", task="multiclass", classes=("a", "b", "c"))
SQUARE = squares(4, 6, 2)


class MeanOfWords(nn.Module):
    """A linear model of the mean embedding: every attribution has a closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 3, padding_idx=0)
        self.output = nn.Linear(3, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        real = (ids != 0).float().unsqueeze(2)
        out: torch.Tensor = self.output((self.embedding(ids) * real).sum(1) / real.sum(1).clamp(min=1))
        return out


def texts(module: nn.Module, ids: np.ndarray) -> SegmentedRows:
    return SegmentedRows(
        decision=TargetFunction(module.eval(), task_for(BINARY)),
        inputs=ids,
        predicted=np.zeros(len(ids), np.int64),
        counts=(ids != 0).sum(axis=1),
        width=ids.shape[1],
        delete=without_words,
        device=CPU,
    )


def images(module: nn.Module, count: int = 5) -> tuple[SegmentedRows, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(count, 2, 4, 6)).astype(np.float32)
    baseline = rows.mean(axis=0)
    part = SegmentedRows(
        decision=TargetFunction(module.eval(), task_for(THREE)),
        inputs=rows,
        predicted=np.arange(count) % 3,
        counts=np.full(count, 4),
        width=4,
        delete=without_squares(baseline, SQUARE),
        device=CPU,
    )
    return part, baseline


def closed_form(module: MeanOfWords, ids: np.ndarray) -> np.ndarray:
    weight = (module.output.weight[1] - module.output.weight[0]).detach().double().numpy()
    vectors = module.embedding.weight.detach().double().numpy()
    counts = np.maximum((ids != 0).sum(axis=1, keepdims=True), 1)
    values: np.ndarray = np.where(ids > 1, (vectors[ids] - vectors[1]) @ weight, 0) / counts
    return values


IDS = np.array([[2, 3, 7, 0, 0], [4, 1, 4, 5, 6], [0, 0, 0, 0, 0]])


@pytest.mark.parametrize("method", ["layer_integrated_gradients", "occlusion"])
def test_words_of_a_linear_model_have_their_closed_form(method: str) -> None:
    torch.manual_seed(0)
    module = MeanOfWords()
    found = methods_text.attribute_words(method, texts(module, IDS), steps=3)
    np.testing.assert_allclose(found, closed_form(module, IDS), atol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "gru", "transformer"])
def test_words_of_every_text_network_sum_to_the_change(name: str) -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 8, (6, 5))
    ids[1, 2:] = 0
    torch.manual_seed(1)
    module: Any = build(name, BINARY.network_arguments())
    with torch.no_grad():
        module.embedding.weight.mul_(10)
    part = texts(module, ids)
    found = methods_text.attribute_words("layer_integrated_gradients", part, steps=64)
    # The transformer's rectifiers bend the path; the recurrent networks are smooth.
    np.testing.assert_allclose(found.sum(axis=1), part.change(), rtol=5e-3, atol=1e-4)
    assert (found[ids == 0] == 0).all()


def test_attention_is_what_each_real_token_receives() -> None:
    torch.manual_seed(0)
    module = build("transformer", {**BINARY.network_arguments(), "depth": 2})
    found = methods_text.attribute_words("attention", texts(module, IDS[:2]))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    assert (found[IDS[:2] == 0] == 0).all()
    # A naive second computation, of the first layer alone.
    shallow: Any = build("transformer", BINARY.network_arguments()).eval()
    ids = torch.from_numpy(IDS[:2])
    body = shallow.body
    tokens = shallow.embedding(ids) + body.positions(torch.arange(5))
    block = body.layers[0]
    heads = block.attention.heads
    normed = block.attention_norm(tokens)
    query, key = (part(normed).reshape(2, 5, heads, -1) for part in (block.attention.query, block.attention.key))
    scores = torch.einsum("rqhd,rkhd->rhqk", query, key) / query.shape[-1] ** 0.5
    weights = scores.masked_fill((ids == 0)[:, None, None], -1e9).softmax(-1)
    expected = [weights[row, :, : (ids[row] != 0).sum()].mean(dim=(0, 1)).detach().numpy() for row in range(2)]
    np.testing.assert_allclose(methods_text.attribute_words("attention", texts(shallow, IDS[:2])), expected, atol=1e-6)


def test_a_network_without_attention_has_none() -> None:
    with pytest.raises(NotRun, match="no softmax that weighs tokens"):
        methods_text.attribute_words("attention", texts(build("gru", BINARY.network_arguments()), IDS))


def test_pixels_of_a_linear_model_have_their_closed_form() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(48, 3)
    module = nn.Sequential(nn.Flatten(), linear)
    part, baseline = images(module)
    weights = linear.weight.detach().numpy().reshape(3, 2, 4, 6)[part.predicted]
    expected = (weights * (part.inputs - baseline)).sum(axis=1)
    found = methods_image.attribute_pixels("integrated_gradients", part, baseline=baseline, square=SQUARE, steps=4)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    summed = methods_image.sum_over(found, SQUARE)
    np.testing.assert_allclose(summed[:, 1], expected[:, :2, 3:].sum(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(summed.sum(axis=1), part.change(), atol=1e-5)
    occluded = methods_image.attribute_pixels("occlusion", part, baseline=baseline, square=SQUARE)
    np.testing.assert_allclose(methods_image.sum_over(occluded, SQUARE), summed, atol=1e-5)
    saliency = methods_image.attribute_pixels("saliency", part, baseline=baseline, square=SQUARE)
    np.testing.assert_allclose(saliency, np.abs(weights).sum(axis=1), atol=1e-6)


def test_occlusion_is_captums_ablation_of_squares() -> None:
    torch.manual_seed(0)
    module = build("cnn", {**THREE.network_arguments(), "dropout": 0.0})
    part, baseline = images(module)
    found = methods_image.attribute_pixels("occlusion", part, baseline=baseline, square=SQUARE)
    oracle = FeatureAblation(part.decision).attribute(
        torch.from_numpy(part.inputs),
        baselines=torch.from_numpy(baseline)[None],
        additional_forward_args=(torch.from_numpy(part.predicted),),
        feature_mask=torch.from_numpy(SQUARE)[None, None],
    )
    lost = methods_image.sum_over(found, SQUARE)[:, SQUARE.reshape(-1)].reshape(len(found), 4, 6)
    np.testing.assert_allclose(lost, oracle[:, 0].detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("last", [nn.ReLU(), nn.Identity()])
def test_grad_cam_is_the_weighted_activation_of_the_last_convolution(last: nn.Module) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(96, 3)
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 4, 1), last, nn.Flatten(), linear)
    part, baseline = images(module)
    found = methods_image.attribute_pixels("grad_cam", part, baseline=baseline, square=SQUARE)
    active = module[:4](torch.from_numpy(part.inputs))
    slopes = linear.weight.reshape(3, 4, 4, 6)[part.predicted].mean(dim=(2, 3))
    expected = (slopes[..., None, None] * active).sum(dim=1).relu().detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.any()


class Additive(nn.Module):
    """The decision is the sum of a table of numbers, one for each token id."""

    def __init__(self, weights: np.ndarray) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.as_tensor(weights)[:, None])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = (self.embedding(ids)[..., 0] * (ids > 0)).sum(dim=1)
        return out


def test_checks_tell_the_truth_from_noise() -> None:
    rng = np.random.default_rng(0)
    module = Additive(np.concatenate([[0, 0], rng.normal(size=30)]))
    ids = rng.integers(2, 32, (200, 10))
    ids[np.arange(10) >= rng.integers(4, 11, 200)[:, None]] = 0
    part = texts(module, ids)
    truth = methods_text.attribute_words("occlusion", part)
    noise = np.where(part.exists, rng.normal(size=truth.shape), 0)
    assert segments.deletion_advantage(part, truth, seed=0).mean() > 0.2
    assert segments.deletion_advantage(part, -truth, seed=0).mean() < -0.2
    assert segments.deletion_advantage(part, np.abs(truth), seed=0, signed=False).mean() > 0
    by_chance = segments.deletion_advantage(part, noise, seed=0)
    assert abs(by_chance.mean()) < 4 * by_chance.std() / np.sqrt(200)
    assert segments.infidelity(part, truth, perturbation_count=10, seed=0).max() < 1e-10
    assert segments.infidelity(part, truth * 7, perturbation_count=10, seed=0, scaled=True).max() < 1e-10
    np.testing.assert_allclose(segments.infidelity(part, truth * 0, perturbation_count=50, seed=0).mean(), 1)
    assert segments.infidelity(part, noise, perturbation_count=10, seed=0).mean() > 1
    # Moved by a tenth, an attribution is a tenth of its length away.
    np.testing.assert_allclose(segments.maximum_sensitivity(truth, lambda: truth * 1.1, perturbation_count=2), 0.1)


def test_agreement_is_a_cosine_that_noise_in_small_rows_does_not_hide() -> None:
    rng = np.random.default_rng(0)
    first = np.concatenate([np.eye(5) * 10, rng.normal(size=(5, 5)) / 10])
    second = np.concatenate([np.eye(5) * 30, rng.normal(size=(5, 5)) / 10])
    assert segments.agreement(first, second).mean() > 0.99
    assert segments.agreement(first, -second).mean() < -0.99
    expected = (first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum())
    np.testing.assert_allclose(segments.agreement(first, second).mean(), expected)
    assert np.isnan(segments.agreement(first * 0, second)).all()


def test_rank_correlations_leave_out_rows_of_few_parts() -> None:
    first = np.array([[1.0, 2.0, 3.0, 0.0], [1.0, 2.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    found = segments.rank_correlations(first, -first, np.array([3, 2, 4]))
    np.testing.assert_allclose(found, [-1.0, np.nan, np.nan])
