"""Differentially private training: DP-SGD, and the ledger of what it guarantees.

Abadi et al. 2016, "Deep learning with differential privacy" (arXiv:1607.00133). Each step draws a Poisson
sample of rows, clips each row's gradient to a norm C, adds Gaussian noise of standard deviation sigma C to
their sum, and divides by the expected batch size.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.validators import ModuleValidator
from torch import nn

from auditkit.errors import InputError, NotRun
from auditkit.evidence.messages import Message
from auditkit.models.formats.exported import program_in
from auditkit.models.model import Model
from auditkit.progress import Progress, silent
from auditkit.schema.schema import Labels
from auditkit.training.dp.accounting import (
    ALL_TRAINED,
    INITIAL_WEIGHTS,
    NOT_COVERED,
    SEED_PUBLISHED,
    SEED_UNRECORDED,
    Ledger,
    default_delta,
    plan_noise,
    prv_epsilon,
    rdp_epsilon,
    require_epsilon,
    require_tuning_runs,
)
from auditkit.training.dp.canaries import Canaries
from auditkit.training.dp.checkpoint import CHECKPOINTS, RESUMED, Checkpoint
from auditkit.training.dp.clipping import clipper_for
from auditkit.training.dp.noise import Noise, key_of, new_key, noise_of
from auditkit.training.dp.per_example import ClippedSum, trainable
from auditkit.training.dp.settings import Clipping, require_clipping
from auditkit.training.fit import (
    Output,
    require_classes,
    require_positive,
    require_positive_int,
    require_rows,
    targets_of,
    tensor_of,
    trained_on,
)


def fit_private(
    module: nn.Module,
    inputs: NDArray[Any],
    labels: Labels,
    *,
    epsilon: float,
    delta: float | None = None,
    max_grad_norm: float = 10.0,
    epochs: int = 20,
    batch_size: int | None = None,
    learning_rate: float = 3e-3,
    seed: int | None = None,
    device: torch.device,
    output: Output = "logits",
    clipping: Clipping = "auto",
    physical_batch_size: int | None = None,
    tuning_runs: int = 0,
    initial_weights: str = INITIAL_WEIGHTS,
    not_covered: tuple[str, ...] = NOT_COVERED,
    checkpoint: Path | None = None,
    canaries: int = 0,
    on_canaries: Callable[[NDArray[np.float64], NDArray[np.bool_]], None] | None = None,
    progress: Progress = silent,
) -> Ledger:
    """Train `module` in place on `inputs` (rows, ...) and class codes `labels` (rows,) with (epsilon, delta)-DP.

    The module must come with fresh or declared-public weights. No row is held out and nothing stops early:
    both would spend privacy that the ledger does not count.

    Args:
        module: any that treats each row alone; the same object is left plain, in eval mode.
        inputs: finite.
        labels: class codes from 0.
        epsilon: the target; the noise is the least that keeps the RDP accountant at or under it.
        delta: below 1/n for n rows; None stands for the smaller of 1e-5 and 1/(10 n).
        max_grad_norm: the norm C that each row's gradient is clipped to. The usual 1.0 costs no accuracy but makes
            scores overconfident (log loss on UCI Adult 0.47 at 1, 0.34 at 5, 0.31 at 10, epsilon 3).
        epochs: the expected number of times that each row is drawn.
        batch_size: the expected size of a Poisson batch; None stands for the smaller of 1,024 and n/4.
        learning_rate: of Adam.
        seed: of sampling, noise and dropout. Whoever knows it can take the noise off again: it serves an audit
            that must be repeatable. None draws one from the operating system and does not record it.
        device: where to train.
        output: what the module returns.
        clipping: how each row's gradient is clipped: the fastest way that is right for the network, or one way alone.
        physical_batch_size: the most rows that go through the network at once; a larger Poisson batch is taken in
            parts, with the same result. None takes it whole.
        tuning_runs: how many earlier runs on these rows, at most as costly as this one, led to its settings.
        initial_weights: what the ledger says of them.
        not_covered: what the ledger says that its budget does not cover.
        checkpoint: a file that a killed training goes on from, removed at the end by whoever named it; `seed` must
            be None, since a resumed run draws fresh noise.
        canaries: how many to plant, to audit the claim; the weights are spoilt by them, and serve nothing else.
        on_canaries: called at the end with the canaries' scores and whether each was in.
        progress: called with the finished share and a few words.

    Raises:
        InputError: a setting out of its bounds, or weights that stop being finite.
        DatasetError: a NaN or infinite input, a label outside the module's classes, one class only.
        NotRun: a layer that DP-SGD cannot train, named with its replacement, or no way to clip that is right.
    """
    require_clipping(clipping)
    require_epsilon(epsilon)
    require_positive("max_grad_norm", max_grad_norm)
    require_positive("learning_rate", learning_rate)
    require_positive_int("epochs", epochs)
    require_rows(inputs, labels)
    row_count = len(labels)
    delta = default_delta(row_count) if delta is None else delta
    if not 0 < delta < 1 / row_count:
        raise InputError(
            f"delta must be above 0 and below 1/n = {1 / row_count:.2g} for {row_count} rows, got {delta:g}; "
            f"pass a delta of {default_delta(row_count):.2g}."
        )
    batch_size = default_batch_size(row_count) if batch_size is None else batch_size
    require_positive_int("batch_size", batch_size)
    if batch_size > row_count:
        raise InputError(f"batch_size must be at most the {row_count} rows, got {batch_size}; pass a smaller one.")
    if physical_batch_size is not None:
        require_positive_int("physical_batch_size", physical_batch_size)
    require_tuning_runs(tuning_runs)
    if checkpoint is not None and seed is not None:
        raise InputError(f"seed must be None where a training can be resumed, got {seed}; leave one of them out.")
    sample_rate = batch_size / row_count
    steps = math.ceil(epochs / sample_rate)
    refuse_unsupported_layers(module)

    noise_multiplier = plan_noise(epsilon, delta, sample_rate, steps)
    fixed = (float(epsilon), delta, max_grad_norm, epochs, batch_size, learning_rate)
    settings = f"{fixed} {output} {trained_part(module)}"
    # Dropout and noise come from streams of their own, unlike those of weights made with the same seed. So do those of
    # other settings: two noises that are multiples of each other would cancel, whatever the accountant says.
    entropy = new_key() if seed is None else str(seed).encode()
    dropout_key, noise_key, canary_key = (
        key_of(entropy, f"{purpose} {settings} {canaries}") for purpose in ("dropout", "noise", "canaries")
    )
    dropout_seed, canary_seed = (int.from_bytes(key[:8]) >> 1 for key in (dropout_key, canary_key))
    with trained_on(module, device, dropout_seed):
        require_classes(module, inputs, labels, device)
        all_inputs = tensor_of(inputs, device)
        all_labels = targets_of(labels, device)
        noise = noise_of(noise_key, device)
        module.train()
        planted = None
        if canaries:
            planted = Canaries(
                canaries,
                trainable(module),
                max_grad_norm=max_grad_norm,
                seed=canary_seed,
            )
        with (
            as_one_vector(trainable(module)) as vector,
            clipper_for(
                module, all_inputs, all_labels, output=output, clipping=clipping, row_passes=epochs * row_count
            ) as clipper,
        ):
            adam = torch.optim.Adam([vector], lr=learning_rate)
            file, taken, lost = None, 0, 0
            if checkpoint is not None:
                rows_read = all_inputs.cpu().numpy().tobytes() + all_labels.cpu().numpy().tobytes()
                digest = hashlib.sha256(rows_read).hexdigest()
                file = Checkpoint(checkpoint, f"{settings} {digest} {noise_multiplier} {initial_weights}", steps)
                resumed = file.load(module, adam)
                taken, lost = resumed or (0, 0)
                not_covered = not_covered if resumed is None else (*not_covered, RESUMED)
            chunk = math.ceil(steps / CHECKPOINTS)
            take_step = private_step(
                vector,
                adam,
                clipper.clipped_sum,
                noise_multiplier=noise_multiplier,
                max_grad_norm=max_grad_norm,
                expected_batch_size=batch_size,
                noise=noise,
                physical_batch_size=physical_batch_size,
                canaries=planted,
            )
            for step in range(taken + 1, steps + 1):
                if file is not None and (step - taken - 1) % chunk == 0:
                    file.save(module, adam, taken=step - 1, spent=min(step - 1 + chunk, steps), lost=lost)
                rows = poisson_sample(row_count + canaries, sample_rate, noise)
                if planted is not None:  # they are drawn as the rows are, so that they test the sampling too
                    planted.drawn, rows = rows[rows >= row_count] - row_count, rows[rows < row_count]
                take_step(all_inputs[rows], all_labels[rows])
                if step % max(1, steps // 100) == 0 or step == steps:
                    progress(step / steps, f"private step {step} of {steps}, target epsilon {epsilon:g}")
        if planted is not None and on_canaries is not None:
            on_canaries(planted.scores.double().cpu().numpy(), planted.included.cpu().numpy())
        if not all(bool(parameter.isfinite().all()) for parameter in module.parameters()):
            raise InputError(
                f"private training left weights that are not finite; lower learning_rate {learning_rate:g}."
            )

    epsilon_rdp = rdp_epsilon(noise_multiplier, sample_rate, steps, delta)
    epsilon_prv = prv_epsilon(noise_multiplier, sample_rate, steps, delta)
    return Ledger(
        contribution_bound=Message(
            "in each step each row's gradient is clipped to an L2 norm of {max_grad_norm:g}",
            max_grad_norm=max_grad_norm,
        ),
        row_count=row_count,
        sampling=Message(
            "Poisson: each row enters each step independently at a rate of {sample_rate:.6g}", sample_rate=sample_rate
        ),
        sample_rate=sample_rate,
        expected_batch_size=batch_size,
        noise_multiplier=noise_multiplier,
        max_grad_norm=max_grad_norm,
        steps=steps,
        epochs=epochs,
        learning_rate=learning_rate,
        accountant="rdp" if epsilon_prv is None else "prv",
        epsilon=epsilon_rdp if epsilon_prv is None else epsilon_prv,
        epsilon_rdp=epsilon_rdp,
        target_epsilon=epsilon,
        delta=delta,
        seed=seed,
        seed_statement=SEED_UNRECORDED if seed is None else SEED_PUBLISHED.format(seed=seed),
        clipping=clipper.way,
        clipping_passed_over=clipper.passed_over,
        physical_batch_size=physical_batch_size,
        initial_weights=initial_weights,
        not_covered=not_covered,
        trained_part=trained_part(module),
        lost_steps=lost,
        tuning_runs=tuning_runs,
        epsilon_with_tuning=rdp_epsilon(noise_multiplier, sample_rate, steps * (1 + tuning_runs), delta),
        opacus=version("opacus"),
        torch=torch.__version__,
    )


def default_batch_size(row_count: int) -> int:
    """Return the expected size of a Poisson batch: the smaller of 1,024 and n/4."""
    return min(1024, max(1, row_count // 4))


def poisson_sample(row_count: int, sample_rate: float, noise: Noise) -> torch.Tensor:
    """Draw each row independently with probability `sample_rate`; returns row numbers, possibly none."""
    return (noise.uniform(row_count) < sample_rate).nonzero().squeeze(1)


class Disclosed(TypedDict):
    """What a ledger says of where a training began, and of what its budget does not cover."""

    initial_weights: str
    not_covered: tuple[str, ...]


def disclosed(model: Model, begun: str, *, drawn: bool = True) -> Disclosed:
    """Return what the ledger of a training of this architecture says: more of a program than of a network.

    `begun` says how the training began, and `drawn` whether with weights of `Model.fresh`.

    Raises:
        NotRun: fresh weights cannot be drawn.
    """
    rules = model.drawing_rules
    if rules is None:
        return {"initial_weights": begun, "not_covered": NOT_COVERED}
    graph = Message("{begun}; the graph is that of the archive sha256:{sha256}", begun=begun, sha256=model.sha256)
    return {
        "initial_weights": f"{graph}; {rules.statement}" if drawn else graph,
        "not_covered": (*NOT_COVERED, rules.not_covered),
    }


def trained_part(module: nn.Module) -> str:
    """Return which parameters training changes, in words for the ledger."""
    program = program_in(module)
    named_parameters = module.named_parameters() if program is None else program.network.named_parameters()
    chosen = {name: parameter for name, parameter in named_parameters if parameter.requires_grad}
    count, total = (sum(part.numel() for part in parts) for parts in (chosen.values(), module.parameters()))
    if count == total:
        return ALL_TRAINED
    named = ", ".join(list(chosen)[:6]) + (f" and {len(chosen) - 6} more tensors" if len(chosen) > 6 else "")
    return f"{count:,} of {total:,} parameters ({named}); the others stay as they began"


@contextmanager
def as_one_vector(parameters: list[nn.Parameter]) -> Iterator[nn.Parameter]:
    """Hold parameters as parts of one vector, which an optimizer steps at once; afterwards each is a tensor of its own.

    Raises:
        NotRun: they are numbers of more than one type.
    """
    if len(kinds := {str(parameter.dtype) for parameter in parameters}) > 1:
        raise NotRun(f"the parameters are of the types {', '.join(sorted(kinds))}: cast the network to one of them.")
    vector = nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    start = 0
    for parameter in parameters:
        parameter.data = vector.detach()[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    try:
        yield vector
    finally:
        for parameter in parameters:
            parameter.data = parameter.data.clone()


def private_step(
    vector: nn.Parameter,
    optimizer: torch.optim.Optimizer,
    clipped_sum: ClippedSum,
    *,
    noise_multiplier: float,
    max_grad_norm: float,
    expected_batch_size: int,
    noise: Noise,
    physical_batch_size: int | None = None,
    canaries: Canaries | None = None,
) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Return a function that takes one DP-SGD step on a batch (inputs, labels), which may be empty.

    `vector` holds all parameters that are trained (`as_one_vector`), and `optimizer` steps it. An empty batch gets
    its noise too.
    """
    deviation = noise_multiplier * max_grad_norm

    def step(inputs: torch.Tensor, labels: torch.Tensor) -> None:
        total: torch.Tensor | None = None
        most = physical_batch_size or max(1, len(labels))
        for start in range(0, len(labels), most):
            sums = clipped_sum(inputs[start : start + most], labels[start : start + most], max_grad_norm)
            part = torch.cat([one.flatten() for one in sums])
            total = part if total is None else total.add_(part)
        if total is None:  # an empty batch gets its noise all the same: without, it would tell that nothing was drawn
            total = torch.zeros_like(vector)
        if canaries is not None:
            canaries.add([total])
        if deviation:
            total.add_(noise.normal(total.numel(), total.dtype), alpha=deviation)
        vector.grad = total.div_(expected_batch_size).view_as(vector)
        if canaries is not None:
            canaries.observe([vector.grad])
        optimizer.step()
        vector.grad = None

    return step


def refuse_unsupported_layers(module: nn.Module) -> None:
    """Raise NotRun for the first layer whose training would break the guarantee, with its replacement."""
    # A program has no layers, and `Model.fresh` has refused one that keeps statistics of rows.
    program = program_in(module)
    inside = set() if program is None else set(program.modules())
    for name, layer in module.named_modules():
        if layer in inside:
            continue
        kind = type(layer).__name__
        validator, fixer = (
            registry.get(type(layer)) for registry in (ModuleValidator.VALIDATORS, ModuleValidator.FIXERS)
        )
        if validator is not None and validator(layer):
            other = type(fixer(copy.deepcopy(layer))).__name__ if fixer else "a layer that treats each row alone"
            raise NotRun(
                f"layer {name or '(root)'} is a {kind}, which DP-SGD cannot train: replace it with {other} "
                f"(opacus.validators.ModuleValidator.fix does, with fresh weights for that layer)."
            )
        if any(True for _ in layer.buffers(recurse=False)) and any(
            p.requires_grad for p in layer.parameters(recurse=False)
        ):
            raise NotRun(
                f"layer {name or '(root)'} is a {kind} with buffers, which could carry rows past the noise: "
                f"replace it with a layer without buffers."
            )
