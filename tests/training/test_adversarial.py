"""Adversarial debiasing: Fairlearn's step as the oracle, a gap that shrinks, and what must not matter."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from fairlearn.adversarial._pytorch_engine import PytorchEngine
from torch import nn

from auditkit.models.architectures import build
from auditkit.training.adversarial import DebiasSettings, debiased, oppose

CPU = torch.device("cpu")


def rows(count: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inputs of which one tells the group and the label, one the label alone; labels; groups."""
    draws = np.random.default_rng(seed)
    groups = draws.integers(0, 2, count)
    inputs = draws.normal(size=(count, 2)) + np.column_stack([1.5 * groups, np.zeros(count)])
    labels = (inputs.sum(axis=1) + draws.normal(size=count) > 0.75).astype(np.int64)
    return inputs.astype(np.float32), labels, groups


def gap(module: nn.Module, positive_only: bool = False) -> float:
    inputs, labels, groups = rows(seed=1)
    with torch.inference_mode():
        chosen = module(torch.from_numpy(inputs)).argmax(dim=1).numpy()
    counted = labels == 1 if positive_only else np.ones(len(labels), dtype=bool)
    return abs(float(np.diff([chosen[counted & (groups == group)].mean() for group in (0, 1)])[0]))


def network() -> nn.Module:
    torch.manual_seed(0)
    return build("mlp", {"input_width": 2, "output_width": 2, "hidden": [8]})


@pytest.mark.parametrize("positive_only", [False, True])
def test_the_gap_shrinks_on_fresh_rows(positive_only: bool) -> None:
    inputs, labels, groups = rows()
    settings = DebiasSettings(strength=10.0, epochs=12, seed=0, positive_only=positive_only)
    stages = debiased(network(), inputs, labels, groups, settings, device=CPU)
    assert len(stages) == 12
    alone = nn.Sequential(nn.Linear(2, 2))
    alone[0].weight.data = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    alone[0].bias.data = torch.tensor([0.75, 0.0])
    assert min(gap(stage, positive_only) for stage in stages[-6:]) < gap(alone, positive_only) / 2


def test_a_step_is_fairlearns(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of plain gradient descent from weights of one row each: those that Fairlearn's engine arrives at."""

    class Base:
        alpha, random_state_, learning_rate = 1.7, 0, 0.1
        predictor_optimizer = adversary_optimizer = "SGD"
        pass_y_, cuda = False, None

    monkeypatch.setattr("fairlearn.adversarial._pytorch_engine.torch", torch)
    torch.manual_seed(1)
    predictor = nn.Sequential(nn.Linear(2, 1), nn.Tanh(), nn.Linear(1, 1), nn.Sigmoid())
    adversary = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid())
    mine = copy.deepcopy(predictor), copy.deepcopy(adversary)
    inputs, labels, groups = (torch.from_numpy(part[:64]).float() for part in rows())
    engine = PytorchEngine.__new__(PytorchEngine)
    engine.base, engine.predictor_model, engine.adversary_model = Base(), predictor, adversary
    engine.predictor_loss = engine.adversary_loss = nn.BCELoss()
    engine.predictor_optimizer = torch.optim.SGD(predictor.parameters(), lr=0.1)
    engine.adversary_optimizer = torch.optim.SGD(adversary.parameters(), lr=0.1)
    engine.train_step(inputs, labels[:, None], groups[:, None])
    chance = mine[0](inputs)
    oppose(
        list(mine[0].parameters()),
        nn.functional.binary_cross_entropy(chance, labels[:, None]),
        nn.functional.binary_cross_entropy(mine[1](chance), groups[:, None]),
        1.7,
    )
    torch.optim.SGD(mine[0].parameters(), lr=0.1).step()
    for ours, theirs in zip(mine[0].parameters(), predictor.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_without_strength_a_step_neither_helps_nor_harms_the_adversary() -> None:
    module, adversary = network(), nn.Linear(1, 2)
    inputs, labels, groups = (torch.from_numpy(part[:64]) for part in rows())
    logits = module(inputs)
    losses = nn.functional.cross_entropy(logits, labels), nn.functional.cross_entropy(adversary(logits[:, :1]), groups)
    parameters = list(module.parameters())
    opposed = torch.autograd.grad(losses[1], parameters, retain_graph=True)
    oppose(parameters, *losses, 0.0)
    for parameter, gradient in zip(parameters, opposed, strict=True):
        assert parameter.grad is not None
        assert float((parameter.grad * gradient).sum().abs()) < 1e-6
        assert float(parameter.grad.norm()) > 0


def test_the_module_is_left_alone_and_the_seed_gives_the_same_networks() -> None:
    inputs, labels, groups = rows(600)
    module = network()
    before = copy.deepcopy(module.state_dict())
    state = torch.random.get_rng_state()
    settings = DebiasSettings(strength=1.0, epochs=2, seed=3)
    first = debiased(module, inputs, labels, groups, settings, device=CPU)
    second = debiased(module, inputs, labels, groups, settings, device=CPU)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in before.items():
        assert torch.equal(module.state_dict()[name], value)
    for one, other in zip(first, second, strict=True):
        for name, value in one.state_dict().items():
            assert torch.equal(other.state_dict()[name], value)
    assert not any(stage.training for stage in first)


def test_batches_without_a_positive_label_are_passed_over() -> None:
    inputs, labels, groups = rows(1200)
    labels[:] = 0
    labels[:3] = 1
    settings = DebiasSettings(strength=1.0, epochs=1, seed=0, positive_only=True)
    stages = debiased(network(), inputs, labels, groups, settings, device=CPU)
    assert all(torch.isfinite(value).all() for value in stages[0].state_dict().values())
