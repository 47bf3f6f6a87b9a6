"""Shadow models: halves, the batched ensemble against one network at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.auditors.privacy.shadow_models import (
    Plan,
    Recipe,
    Rows,
    can_be_batched,
    train_each,
    train_ensemble,
    train_shadows,
)
from auditkit.errors import DatasetError, InputError
from auditkit.execution.in_process import InProcess
from auditkit.progress import silent
from auditkit.stats.shadows import halves
from auditkit.tasks.objectives import CrossEntropy, SquaredError

CPU = torch.device("cpu")


def fresh(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def convolutional(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Unflatten(1, (1, 4)),
        nn.Conv1d(1, 8, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 32),
        nn.ReLU(),
        nn.Linear(32, 2),
    )


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 4)).astype(np.float32)
    return inputs, (inputs[:, 0] > 0).astype(np.int64)


def test_every_row_is_seen_by_half_of_the_models() -> None:
    inside = halves(101, 6, seed=3)
    assert (inside.sum(axis=0) == 3).all()
    assert sorted(set(inside.sum(axis=1).tolist())) == [50, 51]
    assert (inside == halves(101, 6, seed=3)).all()
    assert not (inside == halves(101, 6, seed=4)).all()
    for count in (0, 1, 3):
        with pytest.raises(InputError, match="even number"):
            halves(10, count, seed=0)


def test_an_ensemble_trains_each_network_as_it_would_alone(rows: tuple[np.ndarray, np.ndarray]) -> None:
    inputs, labels = torch.as_tensor(rows[0]), torch.as_tensor(rows[1])
    # One batch an epoch: the order of the rows does not matter, so both ways must give the same weights.
    recipe = Recipe(epochs=15, batch_size=100, learning_rate=0.05)
    parts = [torch.arange(100), torch.arange(100, 200)]
    together, alone = [fresh(0), fresh(1)], [fresh(0), fresh(1)]
    for train, modules in ((train_ensemble, together), (train_each, alone)):
        train(modules, Rows(inputs, labels, parts), recipe, 0, CrossEntropy(), silent)
    for one, other in zip(together, alone, strict=True):
        assert not any(parameter.grad is not None for parameter in one.parameters())
        for name, value in one.state_dict().items():
            assert torch.allclose(value, other.state_dict()[name], atol=2e-5)
    assert not torch.allclose(together[0].state_dict()["0.weight"], together[1].state_dict()["0.weight"])


@pytest.mark.parametrize(("make", "batched"), [(fresh, True), (convolutional, False)])
def test_shadows_learn_what_they_saw(make: type, batched: bool, rows: tuple[np.ndarray, np.ndarray]) -> None:
    inputs, labels = rows
    noise = np.random.default_rng(1).integers(0, 2, len(labels))  # nothing to learn but by heart
    recipe = Recipe(epochs=100, batch_size=25, learning_rate=0.02, weight_decay=0.0)
    shadows = train_shadows(make, inputs, noise, recipe, Plan(4, seed=0), executor=InProcess())
    assert shadows.batched is batched
    assert shadows.probabilities.shape == (4, 200, 2)
    assert shadows.probabilities.sum(axis=2) == pytest.approx(np.ones((4, 200)))
    right = shadows.probabilities.argmax(axis=2) == noise
    assert right[shadows.inside].mean() > right[~shadows.inside].mean() + 0.05
    again = train_shadows(make, inputs, noise, recipe, Plan(4, seed=0), executor=InProcess())
    assert (again.probabilities == shadows.probabilities).all()


def test_only_networks_of_linear_layers_are_batched() -> None:
    assert can_be_batched(fresh(0))
    assert not can_be_batched(convolutional(0))
    assert not can_be_batched(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))


def test_rows_that_cannot_be_learned_from_are_refused(rows: tuple[np.ndarray, np.ndarray]) -> None:
    inputs = rows[0].copy()
    inputs[3, 1] = np.nan
    with pytest.raises(DatasetError, match="finite"):
        train_shadows(fresh, inputs, rows[1], Recipe(1), Plan(2, seed=0), executor=InProcess())


def test_a_network_whose_code_depends_on_values_is_trained_alone(rows: tuple[np.ndarray, np.ndarray]) -> None:
    class Branching(nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs) if inputs.sum() > 0 else super().forward(-inputs)

    shadows = train_shadows(lambda seed: Branching(4, 2), *rows, Recipe(1), Plan(2, seed=0), executor=InProcess())
    assert not shadows.batched


def test_shadows_of_a_regression_say_numbers(rows: tuple[np.ndarray, np.ndarray]) -> None:
    def fresh_line(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Linear(4, 1)

    targets = rows[0] @ np.array([1.0, -1.0, 0.5, 0.0])
    recipe = Recipe(epochs=60, batch_size=50, learning_rate=0.05)
    found = train_shadows(
        fresh_line, rows[0], targets, recipe, Plan(2, seed=0), executor=InProcess(), objective=SquaredError()
    )
    assert found.batched
    assert found.probabilities.shape == (2, 200, 1)
    assert np.abs(found.probabilities[:, :, 0] - targets).max() < 0.1
