from __future__ import annotations

import numpy as np
import torch
from torch import nn

from auditkit.attribution import parts
from auditkit.attribution.decision import Decided
from auditkit.subject.architectures import build
from auditkit.subject.schema import Feature, Schema

CPU = torch.device("cpu")
TEXT = Feature(name="t", kind="text", tokenizer="words", vocabulary=tuple("abcdef"), length=5)
BINARY = Schema(features=(TEXT,), target="y", task="binary", classes=("no", "yes"))


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


def test_words_of_a_linear_model_have_their_closed_form():
    torch.manual_seed(0)
    module = MeanOfWords().eval()
    ids = np.array([[2, 3, 7, 0, 0], [4, 1, 4, 5, 6], [0, 0, 0, 0, 0]])
    found = parts.word_attributions(
        Decided(module, BINARY), module.embedding, ids, np.zeros(3, np.int64), steps=3, device=CPU
    )
    weight = (module.output.weight[1] - module.output.weight[0]).detach().double()
    vectors = module.embedding.weight.detach().double()
    for row in range(3):
        count = max((ids[row] != 0).sum(), 1)
        for place in range(5):
            token = ids[row, place]
            expected = float((vectors[token] - vectors[1]) @ weight) / count if token > 1 else 0.0
            assert abs(found[row, place] - expected) < 1e-6


def test_words_of_every_text_network_sum_to_the_change():
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 8, (6, 5))
    ids[1, 2:] = 0
    predicted = np.zeros(6, np.int64)
    for name in ("lstm", "gru", "transformer"):
        torch.manual_seed(1)
        module = build(name, BINARY.network_arguments()).eval()
        with torch.no_grad():
            module.embedding.weight.mul_(10)
        decision = Decided(module, BINARY)
        found = parts.word_attributions(decision, module.embedding, ids, predicted, steps=64, device=CPU)
        alone = parts.without_words(ids, np.ones(ids.shape, dtype=bool))
        change = parts.values(decision, ids, predicted, CPU) - parts.values(decision, alone, predicted, CPU)
        # The transformer's rectifiers bend the path; the recurrent networks are smooth.
        np.testing.assert_allclose(found.sum(axis=1), change, rtol=5e-3, atol=1e-4)
        assert (found[ids == 0] == 0).all()


def test_pixels_of_a_linear_model_have_their_closed_form():
    torch.manual_seed(0)
    image = Feature(name="image", kind="image", shape=(2, 4, 6))
    schema = Schema(features=(image,), target="y", task="multiclass", classes=("a", "b", "c"))
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).eval()
    rng = np.random.default_rng(0)
    images = rng.normal(size=(5, 2, 4, 6)).astype(np.float32)
    baseline = images.mean(axis=0)
    predicted = np.array([0, 1, 2, 1, 0])
    found = parts.pixel_attributions(Decided(module, schema), images, predicted, baseline, steps=4, device=CPU)
    weights = module[1].weight.detach().numpy().reshape(3, 2, 4, 6)[predicted]
    np.testing.assert_allclose(found, (weights * (images - baseline)).sum(axis=1), atol=1e-5)
    squares = parts.squares(4, 6, 2)
    summed = parts.sum_over(found, squares)
    np.testing.assert_allclose(summed[:, 1], found[:, :2, 3:].sum(axis=(1, 2)))
    np.testing.assert_allclose(summed.sum(axis=1), found.sum(axis=(1, 2)))


def test_deletion_tells_the_right_order_from_the_wrong_one():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(200, 10))
    counts = rng.integers(4, 11, 200)
    truth[np.arange(10) >= counts[:, None]] = 0

    def decide(deleted: np.ndarray) -> np.ndarray:
        return (truth * ~deleted).sum(axis=1)

    assert parts.deletion_advantage(decide, truth, counts, seed=0).mean() > 0.2
    assert parts.deletion_advantage(decide, -truth, counts, seed=0).mean() < -0.2
    noise = parts.deletion_advantage(decide, rng.normal(size=truth.shape), counts, seed=0)
    assert abs(noise.mean()) < 4 * noise.std() / np.sqrt(200)


def test_rank_correlations_leave_out_rows_of_few_parts():
    first = np.array([[1.0, 2.0, 3.0, 0.0], [1.0, 2.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    found = parts.rank_correlations(first, -first, np.array([3, 2, 4]))
    np.testing.assert_allclose(found, [-1.0, np.nan, np.nan])
