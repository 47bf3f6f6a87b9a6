from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.errors import InputError, ModelFileError, NotRun
from auditkit.models.predict import NotFiniteError, choose_device, predict
from auditkit.schema.infer import numeric_schema
from auditkit.tasks.objectives import Output

CPU = torch.device("cpu")
TWO = numeric_schema(["a", "b", "c"], target="y", classes=["no", "yes"])
ROWS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


class Fixed(nn.Module):
    """Returns the given outputs, row by row of the inputs' first cell."""

    def __init__(self, outputs: torch.Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.outputs[inputs[:, 0].long()]


def fixed(outputs: object, *, output: Output = "logits", class_count: int = 2, batch_size: int = 8192) -> Any:
    tensor = torch.as_tensor(outputs, dtype=torch.float32)
    inputs = np.arange(len(tensor), dtype=np.float32)[:, None]
    schema = numeric_schema(["a"], target="y", classes=[f"{code}" for code in range(class_count)], output=output)
    return predict(Fixed(tensor), inputs, schema, device=CPU, batch_size=batch_size)


def test_logits_of_two_columns_and_of_one() -> None:
    two = fixed([[0.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    np.testing.assert_allclose(two.scores, [0.5, 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(1))])
    assert two.labels.tolist() == [1, 1, 0], "a score of exactly 0.5 is positive"
    for single in ([0.0, 2.0, -1.0], [[0.0], [2.0], [-1.0]]):
        one = fixed(single)
        np.testing.assert_allclose(one.scores, two.scores)
        assert one.probabilities.shape == (3, 2)
    assert two.probabilities.dtype == np.float64
    assert two.labels.dtype == np.int64


def test_extreme_logits_do_not_overflow() -> None:
    np.testing.assert_allclose(fixed([[1e30, 0.0], [0.0, 1e4]]).probabilities, [[1, 0], [0, 1]])


def test_probabilities_and_multiclass() -> None:
    given = [[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]]
    found = fixed(given, output="probabilities", class_count=3)
    np.testing.assert_allclose(found.probabilities, given, rtol=1e-6)
    assert found.labels.tolist() == [1, 0]
    assert fixed([0.5, 0.2], output="probabilities").labels.tolist() == [1, 0]
    softmax = fixed(np.log(given), class_count=3)
    np.testing.assert_allclose(softmax.probabilities, given, rtol=1e-6)


def test_a_regression_answers_in_the_unit_of_its_target() -> None:
    schema = numeric_schema(["a"], target="y", classes=[])
    found = fixed([[1.0], [-2.0]], class_count=0)
    assert found.labels.tolist() == [1.0, -2.0]
    scaled = schema.model_copy(update={"target_mean": 40.0, "target_scale": 10.0})
    rows = np.arange(2, dtype=np.float32)[:, None]
    found = predict(Fixed(torch.tensor([1.0, -2.0])), rows, scaled, device=CPU)
    assert found.labels.tolist() == [50.0, 20.0]
    assert found.class_probabilities is None
    for name in ("probabilities", "scores"):
        with pytest.raises(NotRun, match="a regression predicts numbers"):
            getattr(found, name)
    with pytest.raises(ModelFileError, match="returns 2 columns of outputs, and a value is a single one"):
        fixed([[1.0, 2.0]], class_count=0)
    with pytest.raises(ModelFileError, match="1 of 2 rows have NaN or infinite outputs"):
        fixed([[1.0], [float("nan")]], class_count=0)


def test_batches_do_not_change_the_numbers() -> None:
    network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    whole = predict(network, ROWS, TWO, device=CPU)
    shares = []
    parts = predict(
        network, ROWS, TWO, device=CPU, batch_size=7,
        progress=lambda share, text: shares.append(share),
    )  # fmt: skip
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, rtol=1e-5)
    assert shares[-1] == 1
    assert shares == sorted(shares)
    with torch.no_grad():
        by_torch = torch.softmax(network(torch.from_numpy(ROWS)), dim=1).numpy()
    np.testing.assert_allclose(whole.probabilities, by_torch, rtol=1e-5)


def test_dropout_is_off_and_every_part_gets_its_mode_back() -> None:
    network = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 2))
    network.train()
    network[2].eval()
    statistics = network[2].running_mean.clone()  # type: ignore[operator]  # torch types what a module holds as Tensor | Module
    first = predict(network, ROWS, TWO, device=CPU)
    second = predict(network, ROWS, TWO, device=CPU)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert [part.training for part in network] == [True, True, False, True]
    assert network.training
    assert torch.equal(network[2].running_mean, statistics)  # type: ignore[arg-type]  # torch types what a module holds as Tensor | Module
    assert all(parameter.grad is None for parameter in network.parameters())


class Hungry(nn.Module):
    """Runs out of memory above a number of rows."""

    def __init__(self, most: int, message: str | None) -> None:
        super().__init__()
        self.most, self.message = most, message

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if len(inputs) > self.most:
            raise torch.OutOfMemoryError if self.message is None else RuntimeError(self.message)
        return inputs[:, :2]


@pytest.mark.parametrize(
    "message", [None, "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."]
)
def test_out_of_memory_halves_the_batch_and_says_so(message: str | None) -> None:
    found = predict(Hungry(10, message), ROWS, TWO, device=CPU)
    assert found.notes == ("Out of memory on cpu: the batch was reduced to 6 rows; the numbers are the same.",)
    plain = predict(Hungry(100, message), ROWS, TWO, device=CPU)
    np.testing.assert_array_equal(found.probabilities, plain.probabilities)
    assert plain.notes == ()
    with pytest.raises(ModelFileError, match="one row does not fit into the memory of cpu"):
        predict(Hungry(0, message), ROWS, TWO, device=CPU)


class Odd(nn.Module):
    def __init__(self, change: Any) -> None:
        super().__init__()
        self.change = change

    def forward(self, inputs: torch.Tensor) -> object:
        return self.change(inputs)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda inputs: (inputs, inputs), "must return one tensor, got tuple"),
        (lambda inputs: inputs[:5, :2], r"one row of outputs for each of 50 inputs, got shape \(5, 2\)"),
        (lambda inputs: inputs[:, :2, None], "got shape"),
        (lambda inputs: inputs.sum(), "got shape"),
        (lambda inputs: inputs, "returns 3 columns of outputs, but the schema names 2 classes"),
        (lambda inputs: nn.Linear(4, 2)(inputs), r"cannot be run on rows of 3 float32 numbers \(.*\): mat1 and mat2"),
        (lambda inputs: inputs + "a", "cannot be run"),
        (lambda inputs: torch.where(inputs[:, :2] > 0, inputs[:, :2], torch.nan), "NaN or infinite outputs"),
    ],
)
def test_modules_that_do_not_fit(change: Any, match: str) -> None:
    module = Odd(change).train()
    with pytest.raises(ModelFileError, match=match) as caught:
        predict(module, ROWS, TWO, device=CPU)
    assert "\n" not in str(caught.value)
    assert module.training


def test_outputs_that_are_not_finite_are_counted_over_all_batches() -> None:
    outputs = np.zeros((10, 2))
    outputs[[3, 4, 9]] = [[np.nan, 0], [0, np.inf], [-np.inf, np.nan]]
    with pytest.raises(ModelFileError, match="3 of 10 rows have NaN or infinite outputs, the first is row 3"):
        fixed(outputs, batch_size=4)


def test_probabilities_that_are_not_finite_are_called_so_and_name_their_rows() -> None:
    """The rows without an answer were filled with zeros, and the error was that they are no probabilities."""
    with pytest.raises(NotFiniteError, match="2 of 4 rows have NaN or infinite outputs, the first is row 1") as caught:
        fixed([[0.4, 0.6], [np.nan, 0.5], [1.0, 0.0], [np.nan, np.nan]], output="probabilities")
    assert caught.value.rows.tolist() == [1, 3]


@pytest.mark.parametrize("outputs", [[[3.0, -1.0]], [[0.6, 0.6]], [1.5], [-0.5]])
def test_logits_declared_as_probabilities_are_refused(outputs: list[Any]) -> None:
    with pytest.raises(ModelFileError, match="declare them logits"):
        fixed(outputs, output="probabilities")


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda")
    with pytest.raises(InputError, match="auto, cpu or cuda, got 'gpu'"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device; pass --device cpu"):
            choose_device("cuda")
