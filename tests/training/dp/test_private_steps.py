"""The steps of a private training: each one's noise, divisor and sample, and what planted faults would show."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from clipped import Scale, mlp, seeded, weights
from scipy.stats import binom
from torch import nn

from auditkit.errors import NotRun
from auditkit.tasks.objectives import CrossEntropy
from auditkit.training.dp import clip_chunked, dp_sgd
from auditkit.training.dp.clipping import summed_by
from auditkit.training.dp.dp_sgd import StepSize, as_one_vector, fit_private, poisson_sample, private_step
from auditkit.training.dp.noise import Noise
from auditkit.training.dp.per_example import ClippedSum, looped_gradients
from auditkit.training.dp.plan import PrivateSettings
from auditkit.training.dp.settings import Way

CPU = torch.device("cpu")
Step = Callable[[torch.Tensor, torch.Tensor], None]
EACH = pytest.mark.parametrize("way", ["bookkeeping", "chunked", "ghost", "hooks"])


def one_step(
    module: nn.Module,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    *,
    clip: float,
    sigma: float,
    batch: int,
    way: Way = "bookkeeping",
    physical_batch_size: int | None = None,
) -> torch.Tensor:
    """Return what plain descent at learning rate 1 added to the weights."""
    before = weights(module)
    module.train()
    with (
        as_one_vector(list(module.parameters())) as vector,
        summed_by(way, module, objective=CrossEntropy()) as clipped_sum,
    ):
        step = private_step(
            vector,
            torch.optim.SGD([vector], lr=1.0),
            clipped_sum,
            StepSize(sigma, clip, batch, physical_batch_size),
            noise=Noise([seeded()]),
        )
        step(inputs, labels)
    return weights(module) - before


def check_that_one_row_moves_a_step_by_no_more_than_its_share(way: Way) -> None:
    inputs = torch.cat([torch.zeros(31, 4), torch.full((1, 4), 1e3)])
    labels = torch.zeros(32, dtype=torch.int64)
    layer = nn.Linear(4, 3)
    nn.init.zeros_(layer.weight)
    module = nn.Sequential(layer)
    assert looped_gradients(module, inputs, labels, CrossEntropy())[0][-1].norm() > 100
    without = one_step(copy.deepcopy(module), inputs[:-1], labels[:-1], clip=0.1, sigma=0, batch=32, way=way)
    with_it = one_step(copy.deepcopy(module), inputs, labels, clip=0.1, sigma=0, batch=32, way=way)
    assert (with_it - without).norm() <= 0.1 / 32 * (1 + 1e-3), "a row beyond its bound"  # float32 rounds the weights


@EACH
def test_one_row_moves_a_step_by_no_more_than_its_share(way: Way) -> None:
    check_that_one_row_moves_a_step_by_no_more_than_its_share(way)


def clip_the_mean(
    gradients: Sequence[torch.Tensor], max_grad_norm: torch.Tensor, counted: torch.Tensor
) -> list[torch.Tensor]:
    sums = [part.sum(0) for part in gradients]
    norm = torch.stack([part.norm() for part in sums]).norm() / len(counted)
    return [part * (max_grad_norm / norm).clamp(max=1) for part in sums]


def test_clipping_the_mean_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: the batch's mean is clipped, not each row's gradient; a training finds that out by itself too."""
    monkeypatch.setattr(clip_chunked, "clip_and_sum", clip_the_mean)
    with pytest.raises(AssertionError, match="a row beyond its bound"):
        check_that_one_row_moves_a_step_by_no_more_than_its_share("chunked")
    inputs = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    with pytest.raises(NotRun, match=r"chunked: the sum over 8 rows is .* away from a loop over them"):
        fit_private(
            mlp(2), inputs, labels, PrivateSettings(epsilon=3, epochs=1, clipping="chunked", seed=0), device=CPU
        )


@EACH
@pytest.mark.parametrize("count", [0, 32])
def test_noise_is_divided_by_the_batch_once(way: Way, count: int) -> None:
    """Planted bug: sigma C / B^2 instead of sigma C / B; an empty batch takes the same noise."""
    module = nn.Sequential(nn.Linear(50, 40), Scale(0.0))
    inputs, labels = torch.randn(count, 50, generator=seeded(2)), torch.arange(count) % 40
    noise = one_step(module, inputs, labels, clip=2.0, sigma=1.5, batch=32, way=way)
    assert len(noise) == 2040
    assert noise.std().item() == pytest.approx(1.5 * 2.0 / 32, rel=0.08)
    assert abs(noise.mean().item()) < 4 * 1.5 * 2.0 / 32 / math.sqrt(2040)


@EACH
def test_a_duplicated_row_counts_twice_and_the_divisor_stays(way: Way) -> None:
    inputs, labels = torch.randn(1, 4, generator=seeded(3)), torch.zeros(1, dtype=torch.int64)
    once = one_step(mlp(), inputs, labels, clip=0.01, sigma=0, batch=8, way=way)
    twice = one_step(mlp(), inputs.repeat(2, 1), labels.repeat(2), clip=0.01, sigma=0, batch=8, way=way)
    assert torch.allclose(twice, 2 * once, atol=1e-7)


@EACH
def test_physical_batches_give_the_same_step(way: Way) -> None:
    inputs, labels = torch.randn(40, 4, generator=seeded(1)), torch.arange(40) % 3
    whole, sevens, ones = (
        one_step(mlp(), inputs, labels, clip=0.3, sigma=0.5, batch=40, way=way, physical_batch_size=size)
        for size in (None, 7, 1)
    )
    assert torch.allclose(sevens, whole, atol=1e-6)
    assert torch.allclose(ones, whole, atol=1e-6)


# Sampling


def test_batches_are_poisson() -> None:
    """Planted bug: a shuffled or fixed-size batch, where the accountant counts on independent draws."""
    noise = Noise([seeded()])
    count, rate, draws = 300, 0.05, 2000
    picked = torch.zeros(draws, count)
    for draw in range(draws):
        picked[draw, poisson_sample(count, rate, noise)] = 1
    sizes = picked.sum(1).numpy()
    assert sizes.mean() == pytest.approx(count * rate, rel=0.02)
    assert sizes.var() == pytest.approx(count * rate * (1 - rate), rel=0.12)  # a fixed size would give 0
    per_row = picked.sum(0).numpy()
    assert binom.cdf(per_row.min(), draws, rate) > 1e-6
    assert binom.sf(per_row.max(), draws, rate) > 1e-6
    both = (picked[:, 0] * picked[:, 1]).mean().item()
    assert both == pytest.approx(rate**2, abs=4 * math.sqrt(rate**2 / draws))
    assert len(poisson_sample(5, 1e-9, noise)) == 0
    assert poisson_sample(5, 1.0, noise).tolist() == [0, 1, 2, 3, 4]


def test_parameters_in_one_vector_stay_the_modules_own() -> None:
    """Steps of the vector are steps of the network, frozen parts apart; afterwards no tensor shares its memory."""
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    module[0].requires_grad_(False)
    before = weights(module)
    with as_one_vector([p for p in module.parameters() if p.requires_grad]) as vector:
        assert torch.equal(weights(module), before)
        assert vector.numel() == 10
        with torch.no_grad():
            vector.add_(1)
    assert (weights(module) - before).tolist() == pytest.approx([0.0] * 16 + [1.0] * 10, abs=1e-6)
    assert len({p.untyped_storage().data_ptr() for p in module.parameters()}) == 4
    assert module[1].bias.untyped_storage().nbytes() == 8  # type: ignore[operator]  # torch types what a module holds as Tensor | Module


def test_parameters_of_two_types_are_named() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2).double())
    with pytest.raises(NotRun, match=r"torch\.float32, torch\.float64"), as_one_vector(list(module.parameters())):
        pass


# All steps of a run


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch, *, learning_rate: float) -> Iterator[list[tuple[int, torch.Tensor]]]:
    """Run fit_private by plain descent, and note each batch's size and what its step added to the weights."""
    taken: list[tuple[int, torch.Tensor]] = []

    def spy(
        vector: nn.Parameter, optimizer: torch.optim.Optimizer, clipped_sum: ClippedSum, size: StepSize, **more: Any
    ) -> Step:
        step = private_step(vector, torch.optim.SGD([vector], lr=learning_rate), clipped_sum, size, **more)

        def noted(inputs: torch.Tensor, labels: torch.Tensor) -> None:
            before = vector.detach().clone()
            step(inputs, labels)
            taken.append((len(labels), vector.detach() - before))

        return noted

    with monkeypatch.context() as patch:
        patch.setattr(dp_sgd, "private_step", spy)
        yield taken


def check_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero gradients leave a walk of variance lr^2 sigma^2 C^2 steps / B^2 a coordinate; no step goes without noise."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(300, 50)).astype(np.float32)
    labels = generator.integers(0, 10, 300)
    module = nn.Sequential(nn.Linear(50, 10), Scale(0.0))
    start = weights(module)
    with watched(monkeypatch, learning_rate=0.1) as taken:
        ledger = fit_private(
            module,
            inputs,
            labels,
            PrivateSettings(epsilon=2, max_grad_norm=3.0, epochs=4, batch_size=30, seed=0),
            device=CPU,
        )
    assert ledger.steps == len(taken) == 40
    step_deviation = 0.1 * ledger.noise_multiplier * 3.0 / 30
    walk = weights(module) - start
    assert walk.square().mean().item() == pytest.approx(step_deviation**2 * 40, rel=0.15)
    for _, moved in taken:
        assert moved.std().item() == pytest.approx(step_deviation, rel=0.2), "a step without its noise"
    sizes = np.array([size for size, _ in taken])
    assert sizes.std() > 2, "the batches are not Poisson samples"  # binomial: 5.2
    assert sizes.mean() == pytest.approx(30, abs=3)


def test_every_step_of_a_run_is_sampled_and_noised(monkeypatch: pytest.MonkeyPatch) -> None:
    check_every_step(monkeypatch)


def test_batches_of_a_fixed_size_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: shuffled batches, each row once an epoch, where Poisson sampling is claimed."""

    def shuffled(row_count: int, sample_rate: float, noise: Noise) -> torch.Tensor:
        return torch.randperm(row_count, generator=noise.generators[0])[: round(row_count * sample_rate)]

    monkeypatch.setattr(dp_sgd, "poisson_sample", shuffled)
    with pytest.raises(AssertionError, match="not Poisson samples"):
        check_every_step(monkeypatch)


def test_a_last_step_without_noise_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: noise off in the last step; without gradients such a step moves nothing."""

    def faulty(*parts: Any, honest: Any = private_step, **settings: Any) -> Step:
        batches: list[torch.Tensor] = []
        step = honest(*parts, **settings)

        def all_but_the_last(inputs: torch.Tensor, labels: torch.Tensor) -> None:
            batches.append(labels)
            if len(batches) < 40:
                step(inputs, labels)

        return all_but_the_last

    monkeypatch.setitem(globals(), "private_step", faulty)
    with pytest.raises(AssertionError, match="a step without its noise"):
        check_every_step(monkeypatch)
