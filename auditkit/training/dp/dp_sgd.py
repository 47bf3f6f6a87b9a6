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
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

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
from auditkit.tasks.objectives import CrossEntropy, Objective
from auditkit.training.dp.accounting import (
    ALL_TRAINED,
    NOT_COVERED,
    SEED_PUBLISHED,
    SEED_UNRECORDED,
    Ledger,
    claimed_epsilon,
    rdp_epsilon,
)
from auditkit.training.dp.canaries import Canaries, CanaryScores
from auditkit.training.dp.checkpoint import CHECKPOINTS, RESUMED, Checkpoint
from auditkit.training.dp.clipping import Clipper, clipper_for
from auditkit.training.dp.generators import DISCRIMINATOR_ONLY, Adversary, RealLosses
from auditkit.training.dp.noise import Noise, key_of, new_key, noise_of
from auditkit.training.dp.per_example import ClippedSum, trainable
from auditkit.training.dp.plan import Disclosure, PrivatePlan, PrivateSettings, plan_training
from auditkit.training.fit import require_outputs, require_rows, targets_of, tensor_of, trained_on

OnCanaries = Callable[[CanaryScores], None]
"""What is called with what the steps of a training show of its canaries."""


def fit_private(
    module: nn.Module,
    inputs: NDArray[Any],
    labels: Labels,
    settings: PrivateSettings,
    *,
    device: torch.device,
    objective: Objective | None = None,
    on_canaries: OnCanaries | None = None,
    progress: Progress = silent,
) -> Ledger:
    """Train `module` in place on `inputs` (rows, ...) and `labels` (rows, ...) with (epsilon, delta)-DP.

    The module must come with fresh or declared-public weights. No row is held out and nothing stops early:
    both would spend privacy that the ledger does not count.

    Args:
        module: any that treats each row alone; the same object is left plain, in eval mode.
        inputs: finite.
        labels: as the task learns them; class codes from 0 by default.
        settings: the budget, and how it is spent.
        device: where to train.
        objective: that of the task; by default the cross-entropy of class codes, from logits.
        on_canaries: called at the end, where the settings plant canaries.
        progress: called with the finished share and a few words.

    Raises:
        InputError: a setting out of its bounds, or weights that stop being finite.
        DatasetError: a NaN or infinite input, a label outside the module's classes, one class only.
        NotRun: a layer that DP-SGD cannot train, named with its replacement, or no way to clip that is right.
    """
    objective = objective or CrossEntropy()
    require_rows(inputs, labels, objective)
    settings.require(len(labels))
    refuse_unsupported_layers(module)
    plan = plan_training(settings, len(labels))
    adversary = module.adversary if isinstance(module, RealLosses) else None
    keys = _keys(plan, f"{objective.output} {trained_part(module)}")
    with trained_on(module, device, keys.dropout_seed):
        require_outputs(module, inputs, labels, objective, device)
        rows = _Rows(tensor_of(inputs, device), targets_of(labels, objective, device))
        planted = _planted(module, plan, keys)
        if adversary is not None:
            adversary.to(device)
        clipper, resuming = _descend(module, rows, plan, keys, objective, planted, adversary, progress)
        if adversary is not None:
            adversary.finish()
        if planted is not None and on_canaries is not None:
            on_canaries(planted.scores())
        if not all(bool(parameter.isfinite().all()) for parameter in module.parameters()):
            raise InputError(
                f"private training left weights that are not finite; lower learning_rate {settings.learning_rate:g}."
            )
    return _ledger(plan, clipper, trained_part(module), resuming)


@dataclass(frozen=True)
class _Rows:
    """The training rows on the device that trains: inputs (rows, ...) and labels (rows, ...)."""

    inputs: torch.Tensor
    labels: torch.Tensor

    def sha256(self) -> str:
        read = self.inputs.cpu().numpy().tobytes() + self.labels.cpu().numpy().tobytes()
        return hashlib.sha256(read).hexdigest()


@dataclass(frozen=True)
class _Keys:
    """The random streams of one training, and the text of the settings that tell them from those of others."""

    plan: str
    noise: bytes
    dropout_seed: int
    canary_seed: int


def _keys(plan: PrivatePlan, trained: str) -> _Keys:
    """Return the streams of a training. `trained` says what the module returns and which parameters are trained.

    Dropout and noise come from streams of their own, unlike those of weights made with the same seed. So do those of
    other settings: two noises that are multiples of each other would cancel, whatever the accountant says.
    """
    settings = plan.settings
    fixed = (
        float(settings.epsilon),
        plan.delta,
        settings.max_grad_norm,
        settings.epochs,
        plan.batch_size,
        settings.learning_rate,
    )
    text = f"{fixed} {trained}"
    entropy = new_key() if settings.seed is None else str(settings.seed).encode()
    dropout, noise, canary = (
        key_of(entropy, f"{purpose} {text} {settings.canaries}") for purpose in ("dropout", "noise", "canaries")
    )
    return _Keys(text, noise, *(int.from_bytes(key[:8]) >> 1 for key in (dropout, canary)))


@dataclass(frozen=True)
class _Resuming:
    """The checkpoint of a training, if it has one, and the steps that an earlier process took and lost."""

    save: Callable[[int, int], None] | None
    taken: int = 0
    lost: int = 0
    resumed: bool = False

    @classmethod
    def of(
        cls, plan: PrivatePlan, text: str, module: nn.Module, optimizer: torch.optim.Optimizer, rows: _Rows
    ) -> _Resuming:
        """Return what a checkpoint holds, with the weights and the optimizer restored from it.

        Raises:
            InputError: the checkpoint is damaged, or of another training.
        """
        settings = plan.settings
        if settings.checkpoint is None:
            return cls(None)
        described = f"{text} {rows.sha256()} {plan.noise_multiplier} {settings.disclosure.initial_weights}"
        file = Checkpoint(settings.checkpoint, described, plan.steps)
        found = file.load(module, optimizer)
        taken, lost = found or (0, 0)

        def save(after: int, spent: int) -> None:
            file.save(module, optimizer, taken=after, spent=spent, lost=lost)

        return cls(save, taken, lost, found is not None)


def _planted(module: nn.Module, plan: PrivatePlan, keys: _Keys) -> Canaries | None:
    """Return the canaries that the settings ask for, if any."""
    if not plan.settings.canaries:
        return None
    return Canaries(
        plan.settings.canaries,
        trainable(module),
        max_grad_norm=plan.settings.max_grad_norm,
        noise_multiplier=plan.noise_multiplier,
        seed=keys.canary_seed,
    )


def _descend(
    module: nn.Module,
    rows: _Rows,
    plan: PrivatePlan,
    keys: _Keys,
    objective: Objective,
    planted: Canaries | None,
    adversary: Adversary | None,
    progress: Progress,
) -> tuple[Clipper, _Resuming]:
    """Take all steps of a plan on a module; return how rows were clipped, and what was resumed."""
    settings = plan.settings
    noise = noise_of(keys.noise, rows.inputs.device)
    module.train()
    with (
        as_one_vector(trainable(module)) as vector,
        clipper_for(
            module,
            rows.inputs,
            rows.labels,
            objective=objective,
            clipping=settings.clipping,
            row_passes=settings.epochs * plan.row_count,
            most=settings.physical_batch_size,
        ) as clipper,
    ):
        adam = torch.optim.Adam([vector], lr=settings.learning_rate)
        resuming = _Resuming.of(plan, keys.plan, module, adam, rows)

        def clipped_sum(inputs: torch.Tensor, labels: torch.Tensor, norm: float) -> list[torch.Tensor]:
            return clipper.clipped_sum(*objective.batch(inputs, labels), norm)

        step = private_step(
            vector, adam, clipped_sum, StepSize.of(plan), noise=noise, canaries=planted, adversary=adversary
        )
        _take_steps(step, plan, rows, noise=noise, planted=planted, resuming=resuming, progress=progress)
    return clipper, resuming


def _take_steps(
    take_step: Callable[[torch.Tensor, torch.Tensor], None],
    plan: PrivatePlan,
    rows: _Rows,
    *,
    noise: Noise,
    planted: Canaries | None,
    resuming: _Resuming,
    progress: Progress,
) -> None:
    """Draw a Poisson batch for each step that is left, and take it; a checkpoint is written before the steps of it."""
    row_count, steps, taken = plan.row_count, plan.steps, resuming.taken
    chunk = math.ceil(steps / CHECKPOINTS)
    for step in range(taken + 1, steps + 1):
        if resuming.save is not None and (step - taken - 1) % chunk == 0:
            resuming.save(step - 1, min(step - 1 + chunk, steps))
        canary_count = 0 if planted is None else planted.count
        drawn = poisson_sample(row_count + canary_count, plan.sample_rate, noise)
        if planted is not None:  # they are drawn as the rows are, so that they test the sampling too
            planted.drawn, drawn = drawn[drawn >= row_count] - row_count, drawn[drawn < row_count]
        take_step(rows.inputs[drawn], rows.labels[drawn])
        if step % max(1, steps // 100) == 0 or step == steps:
            progress(step / steps, f"private step {step} of {steps}, target epsilon {plan.settings.epsilon:g}")


def _ledger(plan: PrivatePlan, clipper: Clipper, trained: str, resuming: _Resuming) -> Ledger:
    """Return the ledger of a finished training."""
    settings, spent = plan.settings, (plan.sample_rate, plan.steps, plan.delta)
    disclosure = settings.disclosure
    bound = Message(
        "in each step each row's gradient is clipped to an L2 norm of {max_grad_norm:g}",
        max_grad_norm=settings.max_grad_norm,
    )
    epsilon_rdp = rdp_epsilon(plan.noise_multiplier, *spent)
    accountant, epsilon = claimed_epsilon(plan.noise_multiplier, *spent, settings.epsilon)
    runs = 1 + settings.tuning_runs
    with_tuning = rdp_epsilon(plan.noise_multiplier, plan.sample_rate, plan.steps * runs, plan.delta)
    return Ledger(
        unit_of_privacy=disclosure.unit,
        neighbouring_relation=disclosure.neighbours,
        contribution_bound=bound + disclosure.contribution if disclosure.contribution else bound,
        row_count=plan.row_count,
        sampling=Message(
            "Poisson: each row enters each step independently at a rate of {sample_rate:.6g}",
            sample_rate=plan.sample_rate,
        ),
        sample_rate=plan.sample_rate,
        expected_batch_size=plan.batch_size,
        noise_multiplier=plan.noise_multiplier,
        max_grad_norm=settings.max_grad_norm,
        steps=plan.steps,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        accountant=accountant,
        epsilon=epsilon,
        epsilon_rdp=epsilon_rdp,
        target_epsilon=settings.epsilon,
        delta=plan.delta,
        seed=settings.seed,
        seed_statement=SEED_UNRECORDED if settings.seed is None else SEED_PUBLISHED.format(seed=settings.seed),
        clipping=clipper.way,
        clipping_passed_over=clipper.passed_over,
        physical_batch_size=settings.physical_batch_size,
        initial_weights=disclosure.initial_weights,
        not_covered=(*disclosure.not_covered, *((RESUMED,) if resuming.resumed else ())),
        trained_part=trained,
        lost_steps=resuming.lost,
        tuning_runs=settings.tuning_runs,
        epsilon_with_tuning=with_tuning if settings.tuning_runs else epsilon,
        opacus=version("opacus"),
        torch=torch.__version__,
    )


def poisson_sample(row_count: int, sample_rate: float, noise: Noise) -> torch.Tensor:
    """Draw each row independently with probability `sample_rate`; returns row numbers, possibly none."""
    return (noise.uniform(row_count) < sample_rate).nonzero().squeeze(1)


def disclosed(model: Model, begun: str, *, drawn: bool = True) -> Disclosure:
    """Return what the ledger of a training of this architecture says: more of a program than of a network.

    `begun` says how the training began, and `drawn` whether with weights of `Model.fresh`.

    Raises:
        NotRun: fresh weights cannot be drawn.
    """
    rules = model.drawing_rules
    if rules is None:
        return Disclosure(begun)
    graph = Message("{begun}; the graph is that of the archive sha256:{sha256}", begun=begun, sha256=model.sha256)
    return Disclosure(f"{graph}; {rules.statement}" if drawn else graph, (*NOT_COVERED, rules.not_covered))


def trained_part(module: nn.Module) -> str:
    """Return which parameters training changes, in words for the ledger."""
    if isinstance(module, RealLosses):
        return DISCRIMINATOR_ONLY
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


@dataclass(frozen=True)
class StepSize:
    """How large a step is: the noise, the norm that it is in proportion to, and the rows that it is divided by."""

    noise_multiplier: float
    max_grad_norm: float
    expected_batch_size: int
    physical_batch_size: int | None = None

    @classmethod
    def of(cls, plan: PrivatePlan) -> StepSize:
        """Return the size of the steps of a plan."""
        settings = plan.settings
        return cls(plan.noise_multiplier, settings.max_grad_norm, plan.batch_size, settings.physical_batch_size)


def private_step(
    vector: nn.Parameter,
    optimizer: torch.optim.Optimizer,
    clipped_sum: ClippedSum,
    size: StepSize,
    *,
    noise: Noise,
    canaries: Canaries | None = None,
    adversary: Adversary | None = None,
) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Return a function that takes one DP-SGD step on a batch (inputs, labels), which may be empty.

    `vector` holds all parameters that are trained (`as_one_vector`), and `optimizer` steps it. An empty batch gets
    its noise too. An adversary adds a gradient that reads no row.
    """
    deviation = size.noise_multiplier * size.max_grad_norm

    def step(inputs: torch.Tensor, labels: torch.Tensor) -> None:
        total: torch.Tensor | None = None
        most = size.physical_batch_size or max(1, len(labels))
        for start in range(0, len(labels), most):
            sums = clipped_sum(inputs[start : start + most], labels[start : start + most], size.max_grad_norm)
            part = torch.cat([one.flatten() for one in sums])
            total = part if total is None else total.add_(part)
        if total is None:  # an empty batch gets its noise all the same: without, it would tell that nothing was drawn
            total = torch.zeros_like(vector)
        if canaries is not None:
            canaries.add(total)
        if deviation:
            total.add_(noise.normal(total.numel(), total.dtype), alpha=deviation)
        vector.grad = total.div_(size.expected_batch_size).view_as(vector)
        if canaries is not None:
            canaries.observe(vector.grad, size.expected_batch_size)
        if adversary is not None:
            vector.grad += adversary.gradient(vector.detach())
        optimizer.step()
        vector.grad = None
        if adversary is not None:
            adversary.respond()

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
