from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from auditkit.errors import DatasetError, InputError, ModelFileError
from auditkit.tasks.objectives import CrossEntropy, Output, SquaredError, class_logits
from auditkit.training.fit import FitSettings, fit, stratified_mask

CPU = torch.device("cpu")
Rows = tuple[NDArray[np.float32], NDArray[np.int64]]


def mlp(width: int = 4, classes: int = 2, *, seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, classes))


def rows(count: int = 600, width: int = 4, *, seed: int = 0) -> Rows:
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(count, width)).astype(np.float32)
    noise = generator.normal(size=count)
    return inputs, (inputs[:, 0] - inputs[:, 1] + 0.3 * noise > 0).astype(np.int64)


def weights(module: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(module.parameters()).detach()


def test_learns_and_keeps_the_best_epoch() -> None:
    inputs, labels = rows(2000)
    module = mlp()
    seen: list[tuple[float, str]] = []
    record = fit(
        module,
        inputs,
        labels,
        FitSettings(learning_rate=1e-2),
        device=CPU,
        progress=lambda share, what: seen.append((share, what)),
    )
    with torch.inference_mode():
        accuracy = (module(torch.tensor(inputs)).argmax(1).numpy() == labels).mean()
    assert accuracy > 0.9
    assert record.best_epoch == 1 + int(np.argmin(record.validation_losses))
    assert record.epoch_count == len(record.training_losses) == len(record.validation_losses)
    assert record.training_row_count + record.validation_row_count == 2000
    assert len(seen) == record.epoch_count + 1
    assert seen[0][1].startswith("epoch 1 of 30")
    assert seen[-1] == (1.0, f"best epoch {record.best_epoch} of {record.epoch_count}")
    with pytest.raises(ValidationError, match="frozen"):
        record.seed = 1  # type: ignore[misc]


def test_early_stopping_restores_the_weights_with_the_least_validation_loss() -> None:
    inputs, labels = rows(200)
    labels = np.random.default_rng(1).integers(0, 2, 200)  # nothing to learn: the validation loss rises
    module = mlp()
    record = fit(
        module, inputs, labels, FitSettings(epochs=60, batch_size=32, learning_rate=3e-2, patience=4), device=CPU
    )
    assert record.epoch_count == record.best_epoch + 4 < 60
    held_out = stratified_mask(labels, share=0.1, seed=0)
    with torch.inference_mode():
        loss = functional.cross_entropy(module(torch.tensor(inputs[held_out])), torch.tensor(labels[held_out]))
    assert loss.item() == pytest.approx(min(record.validation_losses), rel=1e-5)


def test_a_seed_gives_the_same_weights_and_another_seed_others() -> None:
    inputs, labels = rows()
    trained = []
    for seed in (3, 3, 4):
        module = mlp(dropout=0.2)
        fit(module, inputs, labels, FitSettings(epochs=3, seed=seed), device=CPU)
        trained.append(weights(module))
    assert torch.equal(trained[0], trained[1])
    assert not torch.equal(trained[0], trained[2])


def test_leaves_the_random_state_the_mode_and_the_gradients_clean() -> None:
    inputs, labels = rows()
    module = mlp(dropout=0.2).train()
    torch.manual_seed(7)
    before = torch.get_rng_state()
    fit(module, inputs, labels, FitSettings(epochs=2), device=CPU)
    assert torch.equal(before, torch.get_rng_state())
    assert not module.training
    assert all(parameter.grad is None for parameter in module.parameters())


def test_batches_never_hold_a_single_row() -> None:
    inputs, labels = rows(143)  # 130 rows to train on: batches of 129 would leave BatchNorm a single row
    sizes: list[int] = []
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    module[0].register_forward_hook(lambda layer, args, out: sizes.append(len(args[0])) if layer.training else None)
    record = fit(module, inputs, labels, FitSettings(epochs=1, batch_size=129), device=CPU)
    assert record.training_row_count == 130
    assert sizes == [65, 65]


def test_stratified_mask_takes_the_share_of_each_class() -> None:
    labels = np.repeat([0, 1, 2], [95, 40, 5])
    mask = stratified_mask(labels, share=0.1, seed=0)
    assert np.bincount(labels[mask], minlength=3).tolist() == [9, 4, 0]
    assert not np.array_equal(mask, stratified_mask(labels, share=0.1, seed=1))
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = stratified_mask(labels[order], share=0.1, seed=0)
    assert np.bincount(labels[order][shuffled], minlength=3).tolist() == [9, 4, 0]


def test_class_logits_agree_with_the_losses_they_stand_for() -> None:
    outputs = torch.randn(20, 1, generator=torch.Generator().manual_seed(0))
    labels = (torch.arange(20) % 3 == 0).long()
    binary = functional.binary_cross_entropy_with_logits(outputs[:, 0], labels.float())
    for score in (outputs, outputs[:, 0]):
        assert functional.cross_entropy(class_logits(score, "logits"), labels).item() == pytest.approx(binary.item())
    one = class_logits(outputs.sigmoid(), "probabilities")
    assert functional.cross_entropy(one, labels).item() == pytest.approx(binary.item(), rel=1e-5)
    three = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    logits = functional.cross_entropy(class_logits(three, "logits"), labels).item()
    shares = functional.cross_entropy(class_logits(three.softmax(1), "probabilities"), labels).item()
    assert shares == pytest.approx(logits, rel=1e-5)
    assert class_logits(torch.tensor([[0.0, 1.0]]), "probabilities").isfinite().all()


@pytest.mark.parametrize(
    ("head", "output"),
    [
        (nn.Linear(4, 1), "logits"),
        (nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), "logits"),
        (nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()), "probabilities"),
        (nn.Sequential(nn.Linear(4, 2), nn.Softmax(dim=1)), "probabilities"),
    ],
)
def test_trains_modules_of_every_kind_of_output(head: nn.Module, output: Output) -> None:
    inputs, labels = rows(800)
    module = copy.deepcopy(head)
    with torch.no_grad():  # from a start of its own, not from whatever was drawn before this file was imported
        for parameter in module.parameters():
            parameter.zero_()
    objective = CrossEntropy(output)
    record = fit(module, inputs, labels, FitSettings(learning_rate=3e-2), device=CPU, objective=objective)
    assert min(record.validation_losses) < 0.3


def spoil(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    inputs = inputs.copy()
    inputs[[5, 17], [0, 2]] = np.nan, np.inf
    return inputs


def test_refuses_bad_data_before_training() -> None:
    inputs, labels = rows()
    module = mlp()
    before = weights(module).clone()
    minus, large = labels.copy(), labels.copy()
    minus[9], large[[30, 40]] = -1, 2
    cases: list[tuple[NDArray[np.float32], NDArray[np.int64], str]] = [
        (spoil(inputs), labels, r"in 2 of 600 rows, first in row 5 "),
        (inputs, minus, r"got -1 in row 9 "),
        (inputs, large, r"below the module's 2 classes, got 2 in row 30 "),
        (inputs, np.ones_like(labels), r"at least 2 classes, got class 1 in all 600 rows"),
        (inputs[:-1], labels, r"as many as the 599 input rows, got 600"),
        (inputs[:0], labels[:0], r"needs rows, got 0"),
        (inputs[:8], np.arange(8) % 2, r"a class with at least 10 rows .* got 8 rows"),
    ]
    for bad_inputs, bad_labels, message in cases:
        with pytest.raises(DatasetError, match=message) as raised:
            fit(module, bad_inputs, bad_labels, device=CPU)
        assert "\n" not in str(raised.value)
    assert torch.equal(before, weights(module))


@pytest.mark.parametrize(
    "setting",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"batch_size": 1.5},
        {"patience": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"weight_decay": -1.0},
        {"validation_share": 0.0},
        {"validation_share": 1.0},
    ],
)
def test_refuses_settings_out_of_bounds(setting: dict[str, float]) -> None:
    (name, value) = next(iter(setting.items()))
    with pytest.raises(InputError, match=rf"^{name} must .*got {value}"):
        fit(mlp(), *rows(), FitSettings(**setting), device=CPU)  # type: ignore[arg-type]


def test_a_diverging_loss_is_an_error_and_the_module_is_left_in_order() -> None:
    module = mlp()
    with pytest.raises(InputError, match=r"stopped being finite in epoch \d+ at learning_rate 1e\+30"):
        fit(module, *rows(), FitSettings(learning_rate=1e30), device=CPU)
    assert not module.training


def test_refuses_modules_that_cannot_be_trained_on_these_rows() -> None:
    with pytest.raises(ModelFileError, match=r"does not take inputs of shape \(2, 4\)"):
        fit(mlp(width=5), *rows(), device=CPU)
    with pytest.raises(ModelFileError, match="one row of class scores"):
        fit(nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3))), *rows(), device=CPU)
    with pytest.raises(ModelFileError, match="no trainable parameters"):
        fit(nn.ReLU(), *rows(), device=CPU)
    with pytest.raises(ModelFileError, match="no trainable parameters"):
        fit(mlp().requires_grad_(False), *rows(), device=CPU)


def test_a_regression_learns_numbers_by_their_squared_error() -> None:
    inputs, _ = rows(2000)
    targets = inputs[:, 0] - 2 * inputs[:, 1] + 0.1 * np.random.default_rng(1).normal(size=2000).astype(np.float32)
    module = mlp(classes=1)
    record = fit(module, inputs, targets, FitSettings(learning_rate=1e-2), objective=SquaredError(), device=CPU)
    with torch.inference_mode():
        errors = module(torch.tensor(inputs)).numpy()[:, 0] - targets
    assert (errors**2).mean() < 0.05
    assert record.validation_row_count == 200
    assert record.validation_losses[record.best_epoch - 1] == pytest.approx((errors**2).mean(), rel=1)
    for wrong, match in (
        (np.ones(2000), "not all the same"),
        (np.where(np.arange(2000) == 3, np.nan, targets), "must be finite"),
    ):
        with pytest.raises(DatasetError, match=match):
            fit(mlp(classes=1), inputs, wrong, objective=SquaredError(), device=CPU)
    with pytest.raises(ModelFileError, match="one number for each row, got 2"):
        fit(mlp(), inputs, targets, objective=SquaredError(), device=CPU)


def test_numbers_are_held_out_as_one_class() -> None:
    mask = stratified_mask(SquaredError().strata(np.linspace(-1, 1, 57)), share=0.1, seed=0)
    assert mask.sum() == 5
