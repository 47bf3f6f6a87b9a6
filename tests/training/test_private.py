from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from opacus.layers import DPLSTM
from pydantic import ValidationError
from scipy.stats import binom
from torch import nn

from auditkit.errors import DatasetError, InputError, ModelFileError, NotRun
from auditkit.training import private
from auditkit.training.accounting import Ledger, default_delta, prv_epsilon
from auditkit.training.clipping import Way, summed_by
from auditkit.training.per_row import ClippedSum, looped_gradients
from auditkit.training.private import as_one_vector, fit_private, poisson_sample, private_step

CPU = torch.device("cpu")
Step = Callable[[torch.Tensor, torch.Tensor], None]
EACH = pytest.mark.parametrize("way", ["bookkeeping", "chunked", "ghost", "hooks"])


class Scale(nn.Module):
    """Multiplies by a constant; 0 stops every gradient."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


class Twice(nn.Module):
    """Calls one layer twice: ghost clipping would be wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(torch.tanh(self.layer(torch.tanh(self.layer(x)))))
        return out


def mlp(classes: int = 3, *, seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, classes))


def rows(count: int = 400, *, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(count, 4)).astype(np.float32)
    return inputs, (inputs[:, 0] > inputs[:, 1]).astype(np.int64)


def weights(module: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(module.parameters()).detach().clone()


def noise_source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
        summed_by(way, module, output="logits") as clipped_sum,
    ):
        step = private_step(
            vector,
            torch.optim.SGD([vector], lr=1.0),
            clipped_sum,
            noise_multiplier=sigma,
            max_grad_norm=clip,
            expected_batch_size=batch,
            generator=noise_source(),
            physical_batch_size=physical_batch_size,
        )
        step(inputs, labels)
    return weights(module) - before


# One step


@EACH
def test_mean_clipping_would_be_caught(way: Way) -> None:
    """Planted bug: clipping the batch's mean lets one row's gradient through whole."""
    inputs = torch.cat([torch.zeros(31, 4), torch.full((1, 4), 1e3)])
    labels = torch.zeros(32, dtype=torch.int64)
    layer = nn.Linear(4, 3)
    nn.init.zeros_(layer.weight)
    module = nn.Sequential(layer)
    assert looped_gradients(module, inputs, labels, "logits")[0][-1].norm() > 100
    without = one_step(copy.deepcopy(module), inputs[:-1], labels[:-1], clip=0.1, sigma=0, batch=32, way=way)
    with_it = one_step(copy.deepcopy(module), inputs, labels, clip=0.1, sigma=0, batch=32, way=way)
    assert (with_it - without).norm() <= 0.1 / 32 * (1 + 1e-3)  # float32 rounds the weights


@EACH
@pytest.mark.parametrize("count", [0, 32])
def test_noise_is_divided_by_the_batch_once(way: Way, count: int) -> None:
    """Planted bug: sigma C / B^2 instead of sigma C / B; an empty batch takes the same noise."""
    module = nn.Sequential(nn.Linear(50, 40), Scale(0.0))
    inputs, labels = torch.randn(count, 50, generator=noise_source(2)), torch.arange(count) % 40
    noise = one_step(module, inputs, labels, clip=2.0, sigma=1.5, batch=32, way=way)
    assert len(noise) == 2040
    assert noise.std().item() == pytest.approx(1.5 * 2.0 / 32, rel=0.08)
    assert abs(noise.mean().item()) < 4 * 1.5 * 2.0 / 32 / math.sqrt(2040)


@EACH
def test_a_duplicated_row_counts_twice_and_the_divisor_stays(way: Way) -> None:
    inputs, labels = torch.randn(1, 4, generator=noise_source(3)), torch.zeros(1, dtype=torch.int64)
    once = one_step(mlp(), inputs, labels, clip=0.01, sigma=0, batch=8, way=way)
    twice = one_step(mlp(), inputs.repeat(2, 1), labels.repeat(2), clip=0.01, sigma=0, batch=8, way=way)
    assert torch.allclose(twice, 2 * once, atol=1e-7)


@EACH
def test_physical_batches_give_the_same_step(way: Way) -> None:
    inputs, labels = torch.randn(40, 4, generator=noise_source(1)), torch.arange(40) % 3
    whole, sevens, ones = (
        one_step(mlp(), inputs, labels, clip=0.3, sigma=0.5, batch=40, way=way, physical_batch_size=size)
        for size in (None, 7, 1)
    )
    assert torch.allclose(sevens, whole, atol=1e-6)
    assert torch.allclose(ones, whole, atol=1e-6)


# Sampling


def test_batches_are_poisson() -> None:
    """Planted bug: a shuffled or fixed-size batch, where the accountant counts on independent draws."""
    generator = noise_source()
    count, rate, draws = 300, 0.05, 2000
    picked = torch.zeros(draws, count)
    for draw in range(draws):
        picked[draw, poisson_sample(count, rate, generator)] = 1
    sizes = picked.sum(1).numpy()
    assert sizes.mean() == pytest.approx(count * rate, rel=0.02)
    assert sizes.var() == pytest.approx(count * rate * (1 - rate), rel=0.12)  # a fixed size would give 0
    per_row = picked.sum(0).numpy()
    assert binom.cdf(per_row.min(), draws, rate) > 1e-6
    assert binom.sf(per_row.max(), draws, rate) > 1e-6
    both = (picked[:, 0] * picked[:, 1]).mean().item()
    assert both == pytest.approx(rate**2, abs=4 * math.sqrt(rate**2 / draws))
    assert len(poisson_sample(5, 1e-9, generator)) == 0
    assert poisson_sample(5, 1.0, generator).tolist() == [0, 1, 2, 3, 4]


def test_parameters_in_one_vector_stay_the_modules_own() -> None:
    """Steps of the vector are steps of the network, frozen parts apart; afterwards no tensor shares its memory."""
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    module[0].requires_grad_(False)
    before = weights(module)
    with as_one_vector([p for p in module.parameters() if p.requires_grad]) as vector:
        assert torch.equal(weights(module), before)
        assert vector.numel() == 10
        with torch.no_grad():
            vector += 1
    assert (weights(module) - before).tolist() == pytest.approx([0.0] * 16 + [1.0] * 10, abs=1e-6)
    assert len({p.untyped_storage().data_ptr() for p in module.parameters()}) == 4
    assert module[1].bias.untyped_storage().nbytes() == 8


def test_parameters_of_two_types_are_named() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2).double())
    with pytest.raises(NotRun, match=r"torch\.float32, torch\.float64"), as_one_vector(list(module.parameters())):
        pass


# The whole run


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch, *, learning_rate: float) -> Iterator[list[tuple[int, torch.Tensor]]]:
    """Run fit_private by plain descent, and note each batch's size and what its step added to the weights."""
    taken: list[tuple[int, torch.Tensor]] = []

    def spy(vector: nn.Parameter, optimizer: torch.optim.Optimizer, clipped_sum: ClippedSum, **settings: Any) -> Step:
        step = private_step(vector, torch.optim.SGD([vector], lr=learning_rate), clipped_sum, **settings)

        def noted(inputs: torch.Tensor, labels: torch.Tensor) -> None:
            before = vector.detach().clone()
            step(inputs, labels)
            taken.append((len(labels), vector.detach() - before))

        return noted

    with monkeypatch.context() as patch:
        patch.setattr(private, "private_step", spy)
        yield taken


def check_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero gradients leave a walk of variance lr^2 sigma^2 C^2 steps / B^2 a coordinate; no step goes without noise."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(300, 50)).astype(np.float32)
    labels = generator.integers(0, 10, 300)
    module = nn.Sequential(nn.Linear(50, 10), Scale(0.0))
    start = weights(module)
    with watched(monkeypatch, learning_rate=0.1) as taken:
        ledger = fit_private(module, inputs, labels, epsilon=2, max_grad_norm=3.0, epochs=4, batch_size=30, device=CPU)
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

    def shuffled(row_count: int, sample_rate: float, generator: torch.Generator) -> torch.Tensor:
        return torch.randperm(row_count, generator=generator)[: round(row_count * sample_rate)]

    monkeypatch.setattr(private, "poisson_sample", shuffled)
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


def test_the_ledger_states_what_happened() -> None:
    inputs, labels = rows(400)
    seen: list[tuple[float, str]] = []
    ledger = fit_private(
        mlp(2),
        inputs,
        labels,
        epsilon=3,
        epochs=5,
        batch_size=50,
        seed=4,
        device=CPU,
        progress=lambda share, what: seen.append((share, what)),
    )
    assert (ledger.row_count, ledger.expected_batch_size, ledger.sample_rate, ledger.steps) == (400, 50, 0.125, 40)
    assert ledger.delta == default_delta(400) == 1e-5
    assert ledger.accountant == "prv"
    assert ledger.epsilon == prv_epsilon(ledger.noise_multiplier, 0.125, 40, ledger.delta)
    assert ledger.epsilon <= ledger.epsilon_rdp <= ledger.target_epsilon == 3
    assert ledger.neighbouring_relation == "add or remove one row"
    assert "an L2 norm of 10 " in f"{ledger.contribution_bound} "
    assert (ledger.seed, ledger.clipping, ledger.clipping_passed_over) == (4, "bookkeeping", ())
    assert ledger.seed_statement.startswith("seed 4, published")
    assert any("preprocessing" in line for line in ledger.not_covered)
    assert any("secure_mode is off" in line for line in ledger.not_covered)
    assert ledger.torch == torch.__version__
    assert Ledger.model_validate_json(ledger.model_dump_json()) == ledger
    assert seen[-1] == (1.0, "private step 40 of 40, target epsilon 3")
    assert [share for share, _ in seen] == sorted(share for share, _ in seen)
    with pytest.raises(ValidationError, match="frozen"):
        ledger.epsilon = 0.1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Ledger(**(ledger.model_dump() | {"epsilon": math.inf}))


def test_learns_something_within_its_budget() -> None:
    inputs, labels = rows(4000)
    module = mlp(2)
    fit_private(module, inputs, labels, epsilon=8, epochs=8, learning_rate=1e-2, device=CPU)
    with torch.inference_mode():
        accuracy = (module(torch.tensor(inputs)).argmax(1).numpy() == labels).mean()
    assert accuracy > 0.85


def test_a_seed_repeats_the_run_and_none_does_not() -> None:
    inputs, labels = rows()
    state = torch.get_rng_state()

    def run(seed: int | None) -> tuple[torch.Tensor, Ledger]:
        module = mlp(2, dropout=0.2)
        ledger = fit_private(module, inputs, labels, epsilon=3, epochs=1, batch_size=10, seed=seed, device=CPU)
        return weights(module), ledger

    (first, ledger), (again, same), (other, _) = run(3), run(3), run(4)
    assert torch.equal(first, again)
    assert ledger == same
    assert not torch.equal(first, other)
    (drawn, hidden), (redrawn, _) = run(None), run(None)
    assert not torch.equal(drawn, redrawn)
    assert hidden.seed is None
    assert hidden.seed_statement == "drawn from the operating system and not recorded"
    assert torch.equal(state, torch.get_rng_state())


def test_runs_of_one_seed_with_other_settings_share_no_noise() -> None:
    """Two noises that are multiples of each other cancel: their budgets would not add up, but be lost."""
    generator = np.random.default_rng(0)
    inputs, labels = generator.normal(size=(300, 50)).astype(np.float32), generator.integers(0, 10, 300)

    def walk(**settings: Any) -> NDArray[np.float32]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = nn.Sequential(nn.Linear(50, 10), Scale(0.0))
        start = weights(module)
        fit_private(module, inputs, labels, epochs=2, seed=5, device=CPU, **settings)
        moved: NDArray[np.float32] = (weights(module) - start).numpy()
        return moved

    walks = np.stack([walk(epsilon=1.0), walk(epsilon=8.0), walk(epsilon=1.0, canaries=10), walk(epsilon=1.0)])
    likeness = np.corrcoef(walks)
    assert likeness[0, 3] == pytest.approx(1)
    assert np.abs(likeness[np.triu_indices(3, 1)]).max() < 0.25  # 510 independent steps: 0.04 in standard deviation


@pytest.mark.parametrize("make", [lambda: mlp(2), Twice])
def test_leaves_a_plain_module(make: Callable[[], nn.Module]) -> None:
    module = make()
    parameters = list(module.parameters())
    clean = [set(vars(parameter)) for parameter in parameters]
    clean_layers = [set(vars(layer)) for layer in module.modules()]
    keys = list(module.state_dict())
    fit_private(module, *rows(), epsilon=3, epochs=1, batch_size=10, device=CPU)
    assert not module.training
    assert list(module.state_dict()) == keys
    assert [id(parameter) for parameter in module.parameters()] == [id(parameter) for parameter in parameters]
    assert [set(vars(parameter)) for parameter in parameters] == clean
    assert [set(vars(layer)) for layer in module.modules()] == clean_layers
    for layer in module.modules():
        assert not layer._forward_hooks
        assert not layer._backward_hooks
    assert all(parameter.grad is None for parameter in parameters)
    copy.deepcopy(module)


def test_frozen_parameters_stay() -> None:
    body, head = nn.Linear(4, 8), nn.Linear(8, 2)
    body.requires_grad_(False)
    before = weights(body), weights(head)
    module = nn.Sequential(body, nn.ReLU(), head)
    fit_private(module, *rows(), epsilon=3, epochs=1, batch_size=10, device=CPU)
    assert torch.equal(before[0], weights(body))
    assert not torch.equal(before[1], weights(head))


def test_a_loss_too_large_for_prv_is_stated_by_rdp() -> None:
    assert prv_epsilon(0.16, 0.03, 600, 1e-5) is None
    ledger = fit_private(mlp(), *rows(), epsilon=2000, epochs=1, device=CPU)
    assert ledger.accountant == "rdp"
    assert ledger.epsilon == ledger.epsilon_rdp <= 2000


# Bad input


def spoil(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    inputs = inputs.copy()
    inputs[[5, 17], [0, 2]] = np.nan, np.inf
    return inputs


def test_refuses_bad_data_before_training() -> None:
    inputs, labels = rows()
    module = mlp(2)
    before = weights(module)
    minus, large = labels.copy(), labels.copy()
    minus[9], large[30] = -1, 2
    cases: list[tuple[NDArray[np.float32], NDArray[np.int64], str]] = [
        (spoil(inputs), labels, r"in 2 of 400 rows, first in row 5 "),
        (inputs, minus, r"got -1 in row 9 "),
        (inputs, large, r"below the module's 2 classes, got 2 in row 30 "),
        (inputs, np.zeros_like(labels), r"at least 2 classes"),
        (inputs[:0], labels[:0], r"needs rows, got 0"),
    ]
    for bad_inputs, bad_labels, message in cases:
        with pytest.raises(DatasetError, match=message):
            fit_private(module, bad_inputs, bad_labels, epsilon=3, device=CPU)
    assert torch.equal(before, weights(module))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epsilon": 0.0}, r"^epsilon must be finite and above 0, got 0\.0"),
        ({"epsilon": -1.0}, r"^epsilon must be finite and above 0, got -1\.0"),
        ({"epsilon": math.nan}, r"^epsilon must be finite and above 0, got nan"),
        ({"epsilon": math.inf}, r"^epsilon must be finite and above 0, got inf"),
        ({"epsilon": 0.01}, r"^epsilon 0\.01 at delta 1e-05 is out of the RDP accountant's reach; pass a larger"),
        (
            {"delta": 1 / 400},
            r"^delta must be above 0 and below 1/n = 0\.0025 for 400 rows, got 0\.0025; pass a .* 1e-05",
        ),
        ({"delta": 0.0}, r"^delta must be above 0"),
        ({"delta": math.nan}, r"^delta must be above 0"),
        ({"batch_size": 401}, r"^batch_size must be at most the 400 rows, got 401"),
        ({"batch_size": 0}, r"^batch_size must be a whole number"),
        ({"epochs": 0}, r"^epochs must be a whole number"),
        ({"max_grad_norm": 0.0}, r"^max_grad_norm must be finite and above 0"),
        ({"max_grad_norm": math.inf}, r"^max_grad_norm must be finite and above 0"),
        ({"learning_rate": math.nan}, r"^learning_rate must be finite and above 0"),
    ],
)
def test_refuses_settings_out_of_bounds(setting: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        fit_private(mlp(2), *rows(), **({"epsilon": 3.0} | setting), device=CPU)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("layer", "replacement"),
    [
        (nn.BatchNorm1d(4), "replace it with GroupNorm"),
        (nn.BatchNorm1d(4, affine=False), "replace it with GroupNorm"),
        (nn.LSTM(4, 4), "replace it with DPLSTM"),
        (nn.MultiheadAttention(4, 1), "replace it with DPMultiheadAttention"),
        (nn.LazyBatchNorm1d(), "without buffers"),
    ],
)
def test_names_the_layer_that_cannot_be_private_and_its_replacement(layer: nn.Module, replacement: str) -> None:
    module = nn.Sequential(nn.Linear(4, 4), layer, nn.Linear(4, 2))
    with pytest.raises(NotRun, match=rf"^layer 1 is a {type(layer).__name__}.*{replacement}"):
        fit_private(module, *rows(), epsilon=3, device=CPU)


def test_weights_that_overflow_are_not_called_private() -> None:
    with pytest.raises(InputError, match="not finite; lower learning_rate 1e\\+30"):
        fit_private(mlp(2), *rows(), epsilon=3, learning_rate=1e30, device=CPU)


def test_refuses_a_module_without_parameters() -> None:
    with pytest.raises(ModelFileError, match="no trainable parameters"):
        fit_private(nn.ReLU(), *rows(), epsilon=3, device=CPU)


def test_opacus_replacement_layers_train() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent, self.head = DPLSTM(2, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.recurrent(x.reshape(len(x), 2, 2))[0][:, -1])
            return out

    ledger = fit_private(Last(), *rows(), epsilon=3, epochs=1, batch_size=10, device=CPU)
    assert ledger.clipping == "chunked"
