"""The audit of a private training by canaries: a correct one passes, planted faults are caught."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.auditors.privacy.epsilon_bounds import OneRun, one_run_lower_bound
from auditkit.training.dp import dp_sgd
from auditkit.training.dp.accounting import Ledger
from auditkit.training.dp.dp_sgd import fit_private
from auditkit.training.dp.noise import Noise
from auditkit.training.dp.plan import PrivateSettings

CANARIES = 500
"""So many find each fault by each of six seeds, where a correct training shows at most 0.1; 200 miss one in six."""


def audited(**more: object) -> tuple[OneRun, Ledger]:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(400, 6)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 2))
    found: list[OneRun] = []
    settings: dict[str, object] = {"epsilon": 1.0, "delta": 1e-4, "epochs": 10, "seed": 1, **more}
    ledger = fit_private(
        module,
        inputs,
        labels,
        PrivateSettings(canaries=CANARIES, **settings),  # type: ignore[arg-type]
        device=torch.device("cpu"),
        on_canaries=lambda scores, included: found.append(
            one_run_lower_bound(scores, included, delta=1e-4, level=0.95)
        ),
    )
    return found[0], ledger


def test_a_correct_training_is_not_flagged() -> None:
    run, ledger = audited()
    assert run.canary_count == CANARIES
    assert run.bound <= ledger.epsilon < run.ceiling


@pytest.mark.parametrize("fault", ["no noise", "noise divided by the batch"])
def test_planted_faults_are_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, batch = Noise.normal, 8
    factor = 1e-6 if fault == "no noise" else 1 / batch

    def faulty(self: Noise, count: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return honest(self, count, dtype) * factor

    monkeypatch.setattr(Noise, "normal", faulty)
    run, ledger = audited()
    assert run.bound > ledger.epsilon


def test_sampling_that_is_not_poisson_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: every row in every step, where the accountant counts on a share of them."""
    monkeypatch.setattr(dp_sgd, "poisson_sample", lambda count, rate, generator: torch.arange(count))
    run, ledger = audited(batch_size=8, epochs=4)
    assert run.bound > ledger.epsilon


def test_the_weights_without_canaries_are_untouched_by_the_machinery() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(100, 3)).astype(np.float32)
    weights = []
    for canaries in (0, 0, 10):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 2))
        fit_private(
            module,
            inputs,
            (inputs[:, 0] > 0).astype(np.int64),
            PrivateSettings(epsilon=3.0, epochs=2, canaries=canaries, seed=0),
            device=torch.device("cpu"),
        )
        weights.append(torch.cat([parameter.detach().flatten() for parameter in module.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
