"""What a budget costs a model on held-out rows, by group, beside the model as it was and training without privacy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.data.dataset import Data, naming
from auditkit.errors import InputError, closest
from auditkit.evidence.measurement import Group
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import LanguageModel
from auditkit.models.formats.opening import open_model
from auditkit.models.model import Model
from auditkit.models.predict import predict
from auditkit.schema.schema import Labels, Schema, has_label
from auditkit.stats import sampled
from auditkit.stats.estimates import Estimate
from auditkit.stats.intervals import proportion_interval
from auditkit.stats.sampling import Sampling
from auditkit.tasks.base import task_for
from auditkit.tasks.objectives import Objective
from auditkit.training.dp.dp_sgd import poisson_sample
from auditkit.training.dp.fine_tune import FineTuning
from auditkit.training.dp.frontier_file import CostMeasure, Frontier, StatedCost, StatedModel, write_frontier
from auditkit.training.dp.noise import new_key, noise_of
from auditkit.training.dp.per_example import loss_of_rows, trainable
from auditkit.training.dp.plan import PrivatePlan, plan_training
from auditkit.training.dp.retrained import GroupCost, Retrained
from auditkit.training.fit import targets_of, tensor_of, trained_on

LEVEL = 0.95
FEWEST_ROWS = 10
"""A group of fewer rows or texts has no cost of its own."""


def fit_equally(
    module: nn.Module,
    inputs: NDArray[Any],
    labels: Labels,
    plan: PrivatePlan,
    *,
    device: torch.device,
    objective: Objective,
) -> None:
    """Train a network in place as a private training of this plan does, but without its clipping and its noise."""
    seed = int.from_bytes(new_key()[:7])
    with trained_on(module, device, seed):
        noise = noise_of(new_key(), device)
        rows, targets = tensor_of(inputs, device), targets_of(labels, objective, device)
        optimizer = torch.optim.Adam(trainable(module), lr=plan.settings.learning_rate)
        module.train()
        for _ in range(plan.steps):
            drawn = poisson_sample(plan.row_count, plan.sample_rate, noise)
            optimizer.zero_grad()
            for part in drawn.split(plan.settings.physical_batch_size or max(1, len(drawn))) if len(drawn) else ():
                losses = loss_of_rows(module, *objective.batch(rows[part], targets[part]), objective)
                (losses.sum() / plan.batch_size).backward()
            optimizer.step()


class HeldOut(Protocol):
    """Held-out rows on which networks are compared; `measure` says in what."""

    measure: CostMeasure

    def costs(self, module: nn.Module, epsilon: float | None, device: torch.device) -> list[GroupCost]:
        """Return what a network of a budget costs each group."""
        ...


def costs_without_privacy(tuning: FineTuning, measured: HeldOut | None) -> list[GroupCost]:
    """Return the costs of the model as it was, and after as many steps without privacy; none without held-out rows."""
    if measured is None:
        return []
    module: Any = tuning.begun()
    base, learning = tuning.base, tuning.learning
    settings = tuning.settings(tuning.config.privacy.epsilon[0], Path("none"))
    settings.require(len(learning.labels))
    found = [] if base is None else measured.costs(base.module, 0.0, tuning.device)
    fit_equally(
        module,
        learning.rows,
        learning.labels,
        plan_training(settings, len(learning.labels)),
        device=tuning.device,
        objective=learning.objective,
    )
    return [*found, *measured.costs(module.network, None, tuning.device)]


def with_costs(
    done: Retrained, tuning: FineTuning, measured: HeldOut | None, without: Sequence[GroupCost], sha256: str | None
) -> Retrained:
    """Return a retraining with what each budget costs held-out rows, which it writes beside the models too.

    `without` are the costs without privacy, `sha256` is the hash of the held-out data. Without held-out rows it is
    returned as it is.
    """
    if measured is None:
        return done
    costs = (*without, *done.frontier)
    columns = tuning.learning.columns
    found = Frontier(
        measure=measured.measure,
        held_out_sha256=sha256,
        level=LEVEL,
        models=tuple(
            StatedModel(epsilon=epsilon, sha256=open_model(path, columns=columns).sha256 or "")
            for epsilon, (path, _) in zip(tuning.config.privacy.epsilon, done.files, strict=True)
        ),
        costs=tuple(StatedCost(**dataclasses.asdict(one) | {"group": one.group}) for one in costs),
    )
    path = write_frontier(done.files[0][0].parent, found)
    note = Message("What each budget costs is in {path}: --set private_training.frontier reads it.", path=str(path))
    return replace(done, frontier=costs, measure=measured.measure, notes=(*done.notes, note))


def _require_columns(data: Data, wanted: Sequence[str]) -> None:
    """Raise InputError unless the data have the columns."""
    names = [str(name) for name in data.frame.columns]
    for name in wanted:
        if name not in names:
            raise InputError(f"dataset {data.name}: has no column {name!r}{closest(name, names)}.")


def _groups(frame: pd.DataFrame, sensitive: Sequence[str]) -> list[tuple[Group | None, NDArray[np.int64]]]:
    """Return the rows of each group, and all rows under None."""
    found: list[tuple[Group | None, NDArray[np.int64]]] = [(None, np.arange(len(frame)))]
    for name in sensitive:
        found += [
            (Group(by=(name,), key=(str(value),)), np.asarray(rows, dtype=np.int64))
            for value, rows in frame.groupby(name).indices.items()
        ]
    return found


class HeldOutRows:
    """Held-out rows with labels, on which classifiers, or regressions, of one schema are compared.

    Raises:
        InputError: the data lack a column, or no row has a label.
    """

    def __init__(self, schema: Schema, data: Data, sensitive: Sequence[str]) -> None:
        _require_columns(data, sensitive)
        with naming(data):
            schema.check_columns(data.frame)
            labels = task_for(schema).encode_labels(data.frame)
            known = has_label(labels)
            if not known.any():
                raise InputError(f"dataset {data.name}: no row has a label in {schema.target!r}.")
            frame = data.frame.loc[known].reset_index(drop=True)
            self.inputs = schema.encode(frame)
        self.schema, self.labels, self.groups = schema, labels[known], _groups(frame, sensitive)
        self.measure: CostMeasure = "accuracy" if schema.classes else "mean absolute error"

    def costs(self, module: nn.Module, epsilon: float | None, device: torch.device) -> list[GroupCost]:
        """Return the accuracy, or the mean absolute error, of each group under a network."""
        said = predict(module, self.inputs, self.schema, device=device).labels
        found = []
        for group, rows in self.groups:
            if len(rows) < FEWEST_ROWS:
                continue
            if self.schema.classes:
                right = int((said[rows] == self.labels[rows]).sum())
                low, high = (float(one) for one in proportion_interval(right, len(rows), LEVEL))
                found.append(GroupCost(epsilon, group, len(rows), right / len(rows), low, high))
                continue
            errors = np.abs(said[rows] - self.labels[rows]).astype(np.float64)
            mean = sampled.mean_estimate(errors, [LEVEL], Sampling(None, None), lowest=0.0, sizes=True)
            found.append(_cost(epsilon, group, len(rows), mean))
        return found


class HeldOutTexts:
    """Held-out texts and their groups, on which models of one tokenizer are compared.

    Raises:
        InputError: the data lack a column.
    """

    def __init__(self, model: Model, data: Data, text: str, sensitive: Sequence[str]) -> None:
        _require_columns(data, (text, *sensitive))
        frame = data.frame[data.frame[text].notna()].reset_index(drop=True)
        self.model, self.texts, self.groups = model, frame[text].astype(str).tolist(), _groups(frame, sensitive)
        self.measure: CostMeasure = "bits per byte"

    def costs(self, module: nn.Module, epsilon: float | None, device: torch.device) -> list[GroupCost]:
        """Return the bits per byte of each group under a network in the place of the model's own."""
        scores = replace(self.model, module=module).require(LanguageModel).score(self.texts, device=device)
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
        if len(rows) < FEWEST_ROWS:
            continue
        found = sampled.mean_estimate(bits[rows] / sizes[rows], [LEVEL], Sampling(sizes[rows], None), lowest=0.0)
        yield _cost(epsilon, group, len(rows), found)


def _cost(epsilon: float | None, group: Group | None, count: int, mean: Estimate) -> GroupCost:
    bound = mean.bounds[0] if mean.bounds else None
    assert mean.value is not None
    low, high = (None, None) if bound is None else (float(bound[0]), float(bound[1]))
    return GroupCost(epsilon, group, count, float(mean.value), low, high)
