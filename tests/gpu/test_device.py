"""What must hold on a GPU as on a CPU. `AUDITKIT_DEVICE=cuda` runs it there; without it, it is rehearsed on the CPU."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
import pytest
import torch
from loans import Loans
from torch import nn

import auditkit
from auditkit.auditors.explainability.gradients import integrated_gradients
from auditkit.auditors.explainability.shapley import kernel_shap
from auditkit.auditors.explainability.target_function import ExplanationInput
from auditkit.auditors.privacy.shadow_models import Plan, Recipe, train_shadows
from auditkit.execution.in_process import InProcess
from auditkit.models.predict import predict
from auditkit.schema.infer import numeric_schema
from auditkit.training.dp.dp_sgd import fit_private
from auditkit.training.dp.plan import PrivateSettings
from auditkit.training.fit import FitSettings, fit

pytestmark = pytest.mark.gpu

DEVICE = torch.device(os.environ.get("AUDITKIT_DEVICE", "cpu"))
CPU = torch.device("cpu")
ON_GPU = DEVICE.type == "cuda"
SCHEMA = numeric_schema(list("abcd"), target="y", classes=["no", "yes"])


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))


def rows(count: int) -> tuple[Any, Any]:
    draws = np.random.default_rng(0)
    inputs = draws.standard_normal((count, 4), dtype=np.float32)
    return inputs, (inputs[:, 0] + 0.5 * draws.standard_normal(count) > 0).astype(np.int64)


def states() -> list[torch.Tensor]:
    """Every global generator's state: what auditkit must leave as it was."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if ON_GPU else [])]


def test_predictions_are_those_of_the_cpu_and_the_module_comes_home() -> None:
    module = network()
    inputs, _ = rows(5000)
    seen: set[str] = set()
    module.register_forward_pre_hook(lambda _, given: seen.add(given[0].device.type))
    found = predict(module, inputs, SCHEMA, device=DEVICE, batch_size=512)
    assert seen == {DEVICE.type}
    assert {tensor.device.type for tensor in module.state_dict().values()} == {"cpu"}
    expected = predict(module, inputs, SCHEMA, device=CPU)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)


class Hungry(nn.Module):
    """Holds 64 MiB a row for a moment; on a CPU it raises what a GPU would from 300 rows on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.device.type == "cuda":
            torch.empty(len(inputs), 2**26, dtype=torch.uint8, device=inputs.device)
        elif len(inputs) > 300:
            raise torch.OutOfMemoryError("out of memory")
        outputs: torch.Tensor = self.layer(inputs)
        return outputs


def test_out_of_memory_halves_the_batch_and_gives_the_same() -> None:
    inputs, _ = rows(8192)
    module = Hungry()
    found = predict(module, inputs, SCHEMA, device=DEVICE)
    assert any("Out of memory" in str(note) for note in found.notes)
    few = predict(module, inputs[:256], SCHEMA, device=DEVICE)
    np.testing.assert_allclose(found.probabilities[:256], few.probabilities, atol=1e-6)


def test_training_takes_bfloat16_on_a_gpu_and_leaves_the_generators_alone() -> None:
    module = network()
    inputs, labels = rows(2000)
    before = states()
    record = fit(module, inputs, labels, FitSettings(epochs=5, learning_rate=1e-2, seed=0), device=DEVICE)
    assert record.precision == ("bfloat16 autocast" if ON_GPU else "float32")
    assert all(torch.equal(one, other) for one, other in zip(before, states(), strict=True))
    assert {(tensor.dtype, tensor.device.type) for tensor in module.parameters()} == {(torch.float32, "cpu")}
    assert (predict(module, inputs, SCHEMA, device=DEVICE).labels == labels).mean() > 0.75


@pytest.mark.parametrize("clipping", ["auto", "bookkeeping", "chunked", "opacus"])
def test_private_training_spends_what_it_spends_on_a_cpu(
    clipping: Literal["auto", "bookkeeping", "chunked", "opacus"],
) -> None:
    inputs, labels = rows(1000)
    before = states()
    module = network()
    ledger = fit_private(
        module,
        inputs,
        labels,
        PrivateSettings(epsilon=8.0, epochs=3, seed=0, clipping=clipping, learning_rate=1e-2),
        device=DEVICE,
    )
    other = fit_private(
        network(), inputs, labels, PrivateSettings(epsilon=8.0, epochs=3, seed=0, clipping=clipping), device=CPU
    )
    assert ledger.epsilon == other.epsilon <= 8.0
    assert ledger.noise_multiplier == other.noise_multiplier
    assert all(torch.equal(one, after) for one, after in zip(before, states(), strict=True))
    assert all(bool(torch.isfinite(tensor).all()) and tensor.device == CPU for tensor in module.parameters())


def test_explanations_are_those_of_the_cpu() -> None:
    inputs, _ = rows(300)

    def explained(device: torch.device) -> ExplanationInput:
        module = network().to(device).eval()

        def decision(x: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
            assert x.device.type == predicted.device.type == device.type
            outputs: torch.Tensor = module(x)
            return outputs[:, 1] - outputs[:, 0]

        columns = {name: slice(place, place + 1) for place, name in enumerate("abcd")}
        zeros = np.zeros(len(inputs), dtype=np.int64)
        return ExplanationInput(decision, inputs, zeros, np.zeros(4, dtype=np.float32), columns, device, inputs[:50])

    here, there = explained(DEVICE), explained(CPU)
    np.testing.assert_allclose(integrated_gradients(here, steps=50), integrated_gradients(there, steps=50), atol=1e-4)
    shapley = [kernel_shap(each, coalition_count=14, seed=0) for each in (here, there)]
    np.testing.assert_allclose(shapley[0], shapley[1], atol=1e-4)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_shadow_models_learn(dropout: float) -> None:
    inputs, labels = rows(1200)

    def fresh(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 2))

    made = train_shadows(fresh, inputs, labels, Recipe(10, 64, 1e-2), Plan(4, seed=0), executor=InProcess(DEVICE.type))
    assert made.probabilities.shape == (4, 1200, 2)
    assert ((made.probabilities[:, :, 1] >= 0.5) == labels).mean() > 0.75


def test_a_whole_audit_gives_the_numbers_of_the_cpu_and_names_the_device(loans: Loans) -> None:
    only = ["performance", "fairness", "explainability", "robustness"]
    here, there = (auditkit.audit(loans.model, loans.test, only=only, device=device.type) for device in (DEVICE, CPU))
    assert [outcome.error for outcome in here.outcomes] == [None] * len(here.outcomes)
    assert here.verdict == there.verdict
    name = torch.cuda.get_device_name(DEVICE) if ON_GPU else "cpu"
    assert here.environment.device == name
    accuracy = [report.measurement("performance.accuracy") for report in (here, there)]
    assert accuracy[0] is not None
    assert accuracy[1] is not None
    assert accuracy[0].value == pytest.approx(accuracy[1].value, abs=0.005)
