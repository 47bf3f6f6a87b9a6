"""A private training as a whole: its ledger, what it learns, and what it refuses."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from clipped import Scale, Twice, mlp, weights
from numpy.typing import NDArray
from opacus.layers import DPLSTM
from pydantic import ValidationError
from torch import nn

from auditkit.errors import DatasetError, InputError, ModelFileError, NotRun
from auditkit.training.dp import dp_sgd
from auditkit.training.dp.accounting import Ledger, default_delta, prv_epsilon
from auditkit.training.dp.dp_sgd import fit_private
from auditkit.training.dp.noise import key_of
from auditkit.training.dp.plan import PrivateSettings

CPU = torch.device("cpu")


def rows(count: int = 400, *, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(count, 4)).astype(np.float32)
    return inputs, (inputs[:, 0] > inputs[:, 1]).astype(np.int64)


def test_the_ledger_states_what_happened() -> None:
    inputs, labels = rows(400)
    seen: list[tuple[float, str]] = []
    ledger = fit_private(
        mlp(2),
        inputs,
        labels,
        PrivateSettings(epsilon=3, epochs=5, batch_size=50, seed=4),
        device=CPU,
        progress=lambda share, what: seen.append((share, what)),
    )
    assert (ledger.row_count, ledger.expected_batch_size, ledger.sample_rate, ledger.steps) == (400, 50, 0.125, 40)
    assert ledger.delta == default_delta(400) == 1e-5
    assert ledger.accountant == "prv"
    assert ledger.epsilon == prv_epsilon(ledger.noise_multiplier, 0.125, 40, ledger.delta)
    assert 0.99 * 3 <= ledger.epsilon <= ledger.target_epsilon == 3
    assert ledger.epsilon <= ledger.epsilon_rdp
    assert ledger.neighbouring_relation == "add or remove one row"
    assert "an L2 norm of 10 " in f"{ledger.contribution_bound} "
    assert (ledger.seed, ledger.clipping, ledger.clipping_passed_over) == (4, "bookkeeping", ())
    assert ledger.seed_statement.startswith("seed 4, published")
    assert any("preprocessing" in line for line in ledger.not_covered)
    assert any("floating-point side channels" in line for line in ledger.not_covered)
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
    fit_private(module, inputs, labels, PrivateSettings(epsilon=8, epochs=8, learning_rate=1e-2, seed=0), device=CPU)
    with torch.inference_mode():
        accuracy = (module(torch.tensor(inputs)).argmax(1).numpy() == labels).mean()
    assert accuracy > 0.85


def test_a_seed_repeats_the_run_and_none_does_not() -> None:
    inputs, labels = rows()
    state = torch.get_rng_state()

    def run(seed: int | None) -> tuple[torch.Tensor, Ledger]:
        module = mlp(2, dropout=0.2)
        ledger = fit_private(
            module, inputs, labels, PrivateSettings(epsilon=3, epochs=1, batch_size=10, seed=seed), device=CPU
        )
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


@pytest.mark.parametrize("planted", [False, True])
def test_runs_of_one_seed_with_other_settings_share_no_noise(monkeypatch: pytest.MonkeyPatch, planted: bool) -> None:
    """Two noises that are multiples of each other cancel: their budgets would not add up, but be lost."""
    generator = np.random.default_rng(0)
    inputs, labels = generator.normal(size=(300, 50)).astype(np.float32), generator.integers(0, 10, 300)
    if planted:  # the seed alone decides
        monkeypatch.setattr(dp_sgd, "key_of", lambda entropy, purpose: key_of(entropy, purpose.partition(" ")[0]))

    def walk(**settings: Any) -> NDArray[np.float32]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = nn.Sequential(nn.Linear(50, 10), Scale(0.0))
        start = weights(module)
        fit_private(module, inputs, labels, PrivateSettings(epochs=2, seed=5, **settings), device=CPU)
        moved: NDArray[np.float32] = (weights(module) - start).numpy()
        return moved

    walks = [walk(epsilon=1.0), walk(epsilon=1.0), walk(epsilon=8.0)]
    walks += [] if planted else [walk(epsilon=1.0, canaries=10)]
    likeness = np.abs(np.corrcoef(np.stack(walks))[0])  # type: ignore[index]  # torch types what a module holds as Tensor | Module
    assert likeness[1] == pytest.approx(1)
    assert (likeness[2:] > 0.9 if planted else likeness[2:] < 0.25).all()  # 510 independent steps: 0.04 by chance


@pytest.mark.parametrize("make", [lambda: mlp(2), Twice])
def test_leaves_a_plain_module(make: Callable[[], nn.Module]) -> None:
    module = make()
    parameters = list(module.parameters())
    clean = [set(vars(parameter)) for parameter in parameters]
    clean_layers = [set(vars(layer)) for layer in module.modules()]
    keys = list(module.state_dict())
    fit_private(module, *rows(), PrivateSettings(epsilon=3, epochs=1, batch_size=10, seed=0), device=CPU)
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
    fit_private(module, *rows(), PrivateSettings(epsilon=3, epochs=1, batch_size=10, seed=0), device=CPU)
    assert torch.equal(before[0], weights(body))
    assert not torch.equal(before[1], weights(head))


def test_a_loss_too_large_for_prv_is_stated_by_rdp() -> None:
    assert prv_epsilon(0.16, 0.03, 600, 1e-5) is None
    ledger = fit_private(mlp(), *rows(), PrivateSettings(epsilon=2000, epochs=1, seed=0), device=CPU)
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
            fit_private(module, bad_inputs, bad_labels, PrivateSettings(epsilon=3, seed=0), device=CPU)
    assert torch.equal(before, weights(module))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epsilon": 0.0}, r"^epsilon must be a number from 0\.01 to 10,000, got 0\.0"),
        ({"epsilon": -1.0}, r"^epsilon must be a number from 0\.01 to 10,000, got -1\.0"),
        ({"epsilon": math.nan}, r"^epsilon must be a number from 0\.01 to 10,000, got nan"),
        ({"epsilon": math.inf}, r"^epsilon must be a number from 0\.01 to 10,000, got inf"),
        (
            {"epsilon": 0.01, "delta": 1e-9},
            r"^epsilon 0\.01 at delta 1e-09 is out of the RDP accountant's reach; pass a larger",
        ),
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
        fit_private(mlp(2), *rows(), PrivateSettings(**{"epsilon": 3.0} | setting), device=CPU)  # type: ignore[arg-type]
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
        fit_private(module, *rows(), PrivateSettings(epsilon=3, seed=0), device=CPU)


def test_weights_that_overflow_are_not_called_private() -> None:
    with pytest.raises(InputError, match="not finite; lower learning_rate 1e\\+30"):
        fit_private(mlp(2), *rows(), PrivateSettings(epsilon=3, learning_rate=1e30, seed=0), device=CPU)


def test_refuses_a_module_without_parameters() -> None:
    with pytest.raises(ModelFileError, match="no trainable parameters"):
        fit_private(nn.ReLU(), *rows(), PrivateSettings(epsilon=3, seed=0), device=CPU)


def test_opacus_replacement_layers_train() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent, self.head = DPLSTM(2, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.recurrent(x.reshape(len(x), 2, 2))[0][:, -1])
            return out

    ledger = fit_private(Last(), *rows(), PrivateSettings(epsilon=3, epochs=1, batch_size=10, seed=0), device=CPU)
    assert ledger.clipping == "chunked"
