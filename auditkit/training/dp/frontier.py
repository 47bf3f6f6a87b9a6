"""What a budget costs a language model: bits per byte of held-out texts, by group, beside training without privacy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.data.dataset import Data
from auditkit.errors import InputError, closest
from auditkit.evidence.measurement import Group
from auditkit.models.capabilities import LanguageModel
from auditkit.models.model import Model
from auditkit.stats import sampled
from auditkit.stats.sampling import Sampling
from auditkit.tasks.objectives import Objective
from auditkit.training.dp.dp_sgd import poisson_sample
from auditkit.training.dp.noise import new_key, noise_of
from auditkit.training.dp.per_example import loss_of_rows, trainable
from auditkit.training.dp.plan import PrivatePlan
from auditkit.training.dp.retrained import GroupCost
from auditkit.training.fit import trained_on

LEVEL = 0.95
FEWEST_TEXTS = 10
"""A group of fewer texts has no cost of its own."""


def fit_equally(
    module: nn.Module,
    inputs: NDArray[np.int64],
    labels: NDArray[np.int64],
    plan: PrivatePlan,
    *,
    device: torch.device,
    objective: Objective,
) -> None:
    """Train a network in place as a private training of this plan does, but without its clipping and its noise."""
    seed = int.from_bytes(new_key()[:7])
    with trained_on(module, device, seed):
        noise = noise_of(new_key(), device)
        rows, targets = torch.as_tensor(inputs, device=device), torch.as_tensor(labels, device=device).float()
        optimizer = torch.optim.Adam(trainable(module), lr=plan.settings.learning_rate)
        module.train()
        for _ in range(plan.steps):
            drawn = poisson_sample(plan.row_count, plan.sample_rate, noise)
            optimizer.zero_grad()
            for part in drawn.split(plan.settings.physical_batch_size or max(1, len(drawn))) if len(drawn) else ():
                losses = loss_of_rows(module, *objective.batch(rows[part], targets[part]), objective)
                (losses.sum() / plan.batch_size).backward()
            optimizer.step()


class HeldOut:
    """Held-out texts and their groups, on which models of one tokenizer are compared.

    Raises:
        InputError: the data lack a column.
    """

    def __init__(self, data: Data, text: str, sensitive: Sequence[str]) -> None:
        names = [str(name) for name in data.frame.columns]
        for name in (text, *sensitive):
            if name not in names:
                raise InputError(f"dataset {data.name}: has no column {name!r}{closest(name, names)}.")
        frame = data.frame[data.frame[text].notna()].reset_index(drop=True)
        self.texts = frame[text].astype(str).tolist()
        self.groups: list[tuple[Group | None, NDArray[np.int64]]] = [(None, np.arange(len(frame)))]
        for name in sensitive:
            self.groups += [
                (Group(by=(name,), key=(str(value),)), np.asarray(rows, dtype=np.int64))
                for value, rows in frame.groupby(name).indices.items()
            ]

    def costs(self, model: Model, module: nn.Module, epsilon: float | None, device: torch.device) -> list[GroupCost]:
        """Return the bits per byte of each group under a network in the place of the model's own."""
        scores = replace(model, module=module).require(LanguageModel).score(self.texts, device=device)
        module.to("cpu")
        bits = np.array([-one.log_probabilities.sum() / np.log(2) for one in scores])
        sizes = np.array([one.byte_count if len(one.ids) else 0 for one in scores], dtype=np.float64)
        return list(_costs(self.groups, bits, sizes, epsilon))


def _costs(
    groups: Sequence[tuple[Group | None, NDArray[np.int64]]],
    bits: NDArray[np.float64],
    sizes: NDArray[np.float64],
    epsilon: float | None,
) -> Iterator[GroupCost]:
    for group, members in groups:
        rows = members[sizes[members] > 0]
        if len(rows) < FEWEST_TEXTS:
            continue
        found = sampled.mean_estimate(bits[rows] / sizes[rows], [LEVEL], Sampling(sizes[rows], None), lowest=0.0)
        bound = found.bounds[0] if found.bounds else None
        assert found.value is not None
        low, high = (None, None) if bound is None else (float(bound[0]), float(bound[1]))
        yield GroupCost(epsilon, group, len(rows), float(found.value), low, high)
