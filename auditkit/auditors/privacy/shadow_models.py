"""Shadow models: networks like the audited one, each trained on a known random half of the rows.

They come in pairs, of which one sees a half and the other the rest, so that each row is seen by half of any even
number of shadows. Networks of linear layers are trained several at a time, as one batched ensemble.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.func import functional_call, stack_module_state

from auditkit.execution.base import Executor
from auditkit.progress import Progress, part_of, silent
from auditkit.schema.schema import Labels
from auditkit.stats.shadows import halves
from auditkit.tasks.objectives import CrossEntropy, Objective
from auditkit.training.fit import (
    require_positive,
    require_positive_int,
    require_rows,
    targets_of,
    tensor_of,
    trained_on,
)

AT_ONCE = 8
"""How many networks one batched ensemble holds."""

BATCHED_LAYERS = (nn.Linear, nn.LayerNorm, nn.Embedding)
"""Networks whose parameters all lie in these are faster as an ensemble; convolutions on a CPU are slower."""

SCORED_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class Shadows:
    """What the shadows say: `probabilities`, (models, rows, classes), and which rows each saw, (models, rows).

    In a regression `probabilities` are the standardised predictions, (models, rows, 1).
    """

    probabilities: NDArray[np.float64]
    inside: NDArray[np.bool_]
    seconds: float
    batched: bool


class Recipe(NamedTuple):
    """How each shadow is trained: by AdamW for a fixed number of epochs; `training.fit`'s settings by default."""

    epochs: int
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4


class Plan(NamedTuple):
    """How many shadows are trained, and from which seed."""

    model_count: int
    seed: int


def train_shadows(
    fresh: Callable[[int], nn.Module],
    inputs: NDArray[Any],
    labels: Labels,
    recipe: Recipe,
    plan: Plan,
    *,
    executor: Executor,
    objective: Objective | None = None,
    progress: Progress = silent,
) -> Shadows:
    """Train shadows on halves of the rows, and score all rows with each.

    `fresh` gives a network with fresh weights of a seed. No rows are held out.

    Raises:
        InputError: a setting out of its bounds.
        DatasetError: inputs that are not finite, or labels that are no class codes.
    """
    require_positive_int("epochs", recipe.epochs)
    require_positive_int("batch_size", recipe.batch_size)
    require_positive("learning_rate", recipe.learning_rate)
    objective = objective or CrossEntropy()
    require_rows(inputs, labels, objective)
    inside = halves(len(labels), plan.model_count, plan.seed)
    started = time.perf_counter()
    scored: list[NDArray[np.float64]] = []
    parts: list[_Part] = []

    def shards() -> Iterator[_Part]:
        done = 0
        while done < plan.model_count:
            part = _next_part(fresh, inputs, inside, plan, done)
            parts.append(part)
            done += len(part.modules)
            yield part

    def told(place: int) -> Progress:
        first = parts[place].first
        last = first + len(parts[place].modules)
        said = f"shadow models {first + 1} to {last}, "
        return part_of(progress, first / plan.model_count, last / plan.model_count, said)

    for scores in executor.map(functools.partial(_train_part, inputs, labels, recipe, objective), shards(), told):
        scored += scores
    seconds = time.perf_counter() - started
    return Shadows(np.stack(scored), inside[: len(scored)], seconds, parts[-1].batched)


class _Part(NamedTuple):
    """Shadows that are trained together: their number from 0, networks with fresh weights, and rows of each."""

    first: int
    modules: list[nn.Module]
    rows: list[torch.Tensor]
    seed: int
    batched: bool


def _next_part(
    fresh: Callable[[int], nn.Module], inputs: NDArray[Any], inside: NDArray[np.bool_], plan: Plan, first: int
) -> _Part:
    """Return the next shadows: as many as one batched ensemble holds, or a pair."""
    last = min(first + AT_ONCE, plan.model_count)
    modules = [fresh(plan.seed + 1 + index) for index in range(first, last)]
    batched = can_be_batched(modules[0]) and _runs_batched(modules[0], tensor_of(inputs[:2], torch.device("cpu")))
    modules = modules if batched else modules[:2]
    rows = [torch.as_tensor(np.flatnonzero(inside[first + index])) for index in range(len(modules))]
    return _Part(first, modules, rows, plan.seed + first, batched)


def _train_part(
    inputs: NDArray[Any],
    labels: Labels,
    recipe: Recipe,
    objective: Objective,
    part: _Part,
    device: str,
    progress: Progress,
) -> list[NDArray[np.float64]]:
    """Train the shadows of a part; return what each says of all rows, (rows, classes)."""
    place = torch.device(device)
    rows = Rows(tensor_of(inputs, place), targets_of(labels, objective, place), part.rows)
    train = train_ensemble if part.batched else train_each
    train(part.modules, rows, recipe, part.seed, objective, progress)
    return [_score(module, rows.inputs, objective, place) for module in part.modules]


@dataclass(frozen=True)
class Rows:
    """All rows on the device that trains, and the numbers of those that each network learns from."""

    inputs: torch.Tensor
    labels: torch.Tensor
    own: Sequence[torch.Tensor]

    @property
    def device(self) -> torch.device:
        """The device that they are on."""
        return self.inputs.device


def fit_shadows(
    refit: Callable[[NDArray[Any], Labels, int], nn.Module],
    answer: Callable[[nn.Module, torch.device], NDArray[np.float64]],
    inputs: NDArray[Any],
    labels: Labels,
    plan: Plan,
    *,
    executor: Executor,
    progress: Progress = silent,
) -> Shadows:
    """Fit shadows by the model's own method on halves of the rows, and score all rows with each.

    `refit` returns a model fitted to rows and labels with a seed, `answer` what it says of all rows, (rows, classes).

    Raises:
        NotRun: a model cannot be fitted.
    """
    inside = halves(len(labels), plan.model_count, plan.seed)
    started = time.perf_counter()
    work = functools.partial(_fit_half, refit, answer, inputs, labels)
    shards = ((plan.seed + 1 + index, inside[index]) for index in range(plan.model_count))

    def told(place: int) -> Progress:
        said = f"shadow model {place + 1} of {plan.model_count} "
        return part_of(progress, place / plan.model_count, (place + 1) / plan.model_count, said)

    scored = list(executor.map(work, shards, told))
    return Shadows(np.stack(scored), inside, time.perf_counter() - started, batched=False)


def _fit_half(
    refit: Callable[[NDArray[Any], Labels, int], nn.Module],
    answer: Callable[[nn.Module, torch.device], NDArray[np.float64]],
    inputs: NDArray[Any],
    labels: Labels,
    half: tuple[int, NDArray[np.bool_]],
    device: str,
    progress: Progress,
) -> NDArray[np.float64]:
    """Fit one shadow, by its seed and the rows that it sees; return what it says of all rows, (rows, classes)."""
    seed, rows = half
    said = answer(refit(inputs[rows], labels[rows], seed), torch.device(device))
    progress(1.0, "fitted")
    return said


def can_be_batched(module: nn.Module) -> bool:
    """Return whether several such networks train as one: plain layers with nothing else that they remember."""
    owners = [part for part in module.modules() if next(part.parameters(recurse=False), None) is not None]
    return not list(module.buffers()) and all(isinstance(part, BATCHED_LAYERS) for part in owners)


def _runs_batched(module: nn.Module, rows: torch.Tensor) -> bool:
    """Return whether vmap takes the network: it cannot where a value decides which way the code goes."""
    weights = {name: value.detach()[None] for name, value in module.named_parameters()}
    try:
        with torch.random.fork_rng(devices=[rows.device] if rows.is_cuda else []), torch.no_grad():
            torch.vmap(lambda part, batch: functional_call(module, part, (batch,)), randomness="different")(
                weights, rows[None]
            )
    except Exception:  # noqa: BLE001  # whatever the user's module raises, one network at a time will tell
        return False
    return True


def train_ensemble(
    modules: Sequence[nn.Module], rows: Rows, recipe: Recipe, seed: int, objective: Objective, progress: Progress
) -> None:
    """Train networks of one architecture side by side, in place, each on its own rows, of about one length."""
    with trained_on(modules[0], rows.device, seed):
        for module in modules:
            module.to(rows.device).train()
        parameters, _ = stack_module_state(list(modules))
        base = copy.deepcopy(modules[0]).to("meta")

        def forward(weights: dict[str, torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = functional_call(base, weights, (batch,))
            return outputs

        forward_all = torch.vmap(forward, randomness="different")

        def loss_of(batch: torch.Tensor) -> torch.Tensor:
            outputs = forward_all(parameters, rows.inputs[batch])
            # Every network has a mean of its own: the gradients of their sum are those of each alone.
            losses = objective.losses(outputs.reshape(batch.numel(), -1), rows.labels[batch].flatten(0, 1))
            return losses.mean() * len(modules)

        _descend(list(parameters.values()), loss_of, rows.own, recipe, seed, rows.device, progress)
        for index, module in enumerate(modules):
            module.load_state_dict({name: value[index].detach() for name, value in parameters.items()})


def train_each(
    modules: Sequence[nn.Module], rows: Rows, recipe: Recipe, seed: int, objective: Objective, progress: Progress
) -> None:
    """Train networks one after the other, in place, each on its own rows."""
    for index, (module, own) in enumerate(zip(modules, rows.own, strict=True)):

        def loss_of(batch: torch.Tensor, module: nn.Module = module) -> torch.Tensor:
            return objective.losses(module(rows.inputs[batch[0]]), rows.labels[batch[0]]).mean()

        with trained_on(module, rows.device, seed + index):
            module.train()
            own_part = part_of(progress, index / len(modules), (index + 1) / len(modules))
            _descend(list(module.parameters()), loss_of, [own], recipe, seed + index, rows.device, own_part)


def _descend(
    parameters: list[torch.Tensor],
    loss_of: Callable[[torch.Tensor], torch.Tensor],
    rows: Sequence[torch.Tensor],
    recipe: Recipe,
    seed: int,
    device: torch.device,
    progress: Progress,
) -> None:
    """Lower the loss of batches, (networks, rows), drawn by `seed` from the rows of each network."""
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    generator = torch.Generator().manual_seed(seed)
    length = min(len(part) for part in rows)
    for epoch in range(recipe.epochs):
        order = torch.stack([part[torch.randperm(len(part), generator=generator)[:length]] for part in rows])
        for batch in order.to(device).tensor_split(max(1, length // recipe.batch_size), dim=1):
            loss = loss_of(batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        progress((epoch + 1) / recipe.epochs, f"epoch {epoch + 1} of {recipe.epochs}")


def _score(module: nn.Module, inputs: torch.Tensor, objective: Objective, device: torch.device) -> NDArray[np.float64]:
    module.to(device).eval()
    parts = []
    with torch.inference_mode():
        for chunk in inputs.split(max(1, SCORED_AT_ONCE // inputs[0].numel())):
            outputs = module(chunk)
            parts.append(objective.scores(outputs).cpu().numpy())
    return np.concatenate(parts)
