"""Training of generators: one loop for models with a loss per row (VAE, diffusion), one for adversarial pairs (GAN)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditkit.errors import InputError
from auditkit.progress import Progress, silent
from auditkit.training.fit import autocast_on, trained_on

EpochDone = Callable[[int], None]
"""Called after every epoch with its number, from 1: draws the sheet of samples."""


PENALTY = 0.5
"""The weight of the R1 penalty (gamma of Mescheder et al. 2018) of a discriminator."""

PENALTY_EVERY = 8
"""The penalty needs a second derivative: it is taken on every eighth step, at eight times its weight."""


@dataclass(frozen=True, kw_only=True)
class GeneratorFit:
    """How a generator is trained; `learning_rate` None takes 1e-3."""

    epochs: int
    seed: int
    device: torch.device
    batch_size: int = 64
    learning_rate: float | None = None


def noise_width(module: nn.Module, images: Tensor) -> int:
    """Return how many standard normal values a row's loss reads: the latent values, of diffusion a time and pixels."""
    latent: tuple[int, ...] = tuple(module.latent_shape)  # type: ignore[arg-type]  # a generator has one
    return latent[0] if len(latent) == 1 else 1 + images[0].numel()


def fit_row_losses(
    module: nn.Module,
    images: Tensor,
    *,
    settings: GeneratorFit,
    done: EpochDone = lambda epoch: None,
    progress: Progress = silent,
) -> list[float]:
    """Train a generator in place by its loss per row, and return the mean loss of each epoch.

    `images` are float32, (rows, channels, height, width), in [0, 1], or the cells of a table, (rows, width). The
    learning rate falls along a cosine; the
    weights that are kept are a moving average of the steps'.

    Raises:
        InputError: a loss that stops being finite.
    """
    losses = []
    width = noise_width(module, images)
    epochs, batch_size, device = settings.epochs, settings.batch_size, settings.device
    with trained_on(module, device, settings.seed):
        images = images.to(device)
        generator = torch.Generator(device).manual_seed(settings.seed)
        average = {name: value.detach().clone() for name, value in module.state_dict().items()}
        optimizer = torch.optim.AdamW(module.parameters(), lr=settings.learning_rate or 1e-3, weight_decay=0.0)
        step_count = epochs * -(-len(images) // batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, step_count)
        for epoch in range(1, epochs + 1):
            total = torch.zeros((), device=device)
            for rows in _batches(len(images), batch_size, generator, device):
                noise = torch.randn(len(rows), width, generator=generator, device=device)
                with autocast_on(device):
                    loss = module.row_losses(images[rows], noise).mean()  # type: ignore[operator]  # a method of VAEs and diffusion models
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(module.parameters(), 10.0)
                optimizer.step()
                schedule.step()
                total += loss.detach() * len(rows)
                _follow(average, module, 1.0 if epoch == 1 else 0.01)
            losses.append(_finite(total.item() / len(images), epoch))
            with _weights_of(module, average):
                done(epoch)
            progress(epoch / epochs, f"epoch {epoch} of {epochs}, loss {losses[-1]:.4f}")
        module.load_state_dict(average)
    return losses


def fit_adversarial(
    module: nn.Module,
    images: Tensor,
    *,
    settings: GeneratorFit,
    done: EpochDone = lambda epoch: None,
    progress: Progress = silent,
) -> list[float]:
    """Train a generator against its discriminator in place, and return the generator's mean loss of each epoch.

    The non-saturating loss of Goodfellow et al. 2014, real labels smoothed to 0.9, with the R1 penalty of Mescheder et
    al. 2018 on every eighth step (Karras et al. 2020); the weights that are kept are a moving average of the steps'.

    Raises:
        InputError: a loss that stops being finite.
    """
    losses = []
    epochs, batch_size, device = settings.epochs, settings.batch_size, settings.device
    with trained_on(module, device, settings.seed):
        images = images.to(device)
        generator = torch.Generator(device).manual_seed(settings.seed)
        latent: tuple[int, ...] = tuple(module.latent_shape)  # type: ignore[arg-type]  # a generator has one
        average = {name: value.detach().clone() for name, value in module.state_dict().items()}
        both = [
            torch.optim.Adam(part.parameters(), lr=settings.learning_rate or 1e-3, betas=(0.5, 0.999))
            for part in (module.get_submodule("discriminator"), module.get_submodule("generator"))
        ]
        for epoch in range(1, epochs + 1):
            module.train()
            total = torch.zeros((), device=device)
            for step, rows in enumerate(_batches(len(images), batch_size, generator, device)):
                noise = torch.randn(len(rows), *latent, generator=generator, device=device)
                with autocast_on(device):
                    fake = module.made(noise)  # type: ignore[operator]  # a method of GANs
                    loss = _discriminator_loss(module, images[rows], fake.detach(), penalised=step % PENALTY_EVERY == 0)
                _step(both[0], loss)
                with autocast_on(device):
                    loss = _logistic(module.discriminate(fake), 1.0)  # type: ignore[operator]  # a method of GANs
                _step(both[1], loss)
                total += loss.detach() * len(rows)
                _follow(average, module, 1.0 if epoch == 1 else 0.01)
            losses.append(_finite(total.item() / len(images), epoch))
            module.eval()
            with _weights_of(module, average):
                done(epoch)
            progress(epoch / epochs, f"epoch {epoch} of {epochs}, generator's loss {losses[-1]:.4f}")
        module.load_state_dict(average)
    return losses


def _discriminator_loss(module: nn.Module, real: Tensor, made: Tensor, *, penalised: bool) -> Tensor:
    """Return the logistic loss of the discriminator, with the R1 penalty on its slope at real images if asked."""
    real = real.requires_grad_(penalised)
    logits = module.discriminate(real)  # type: ignore[operator]  # a method of GANs
    loss = _logistic(logits, 0.9) + _logistic(module.discriminate(made), 0.0)  # type: ignore[operator]  # as above
    if penalised:
        (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        loss = loss + PENALTY_EVERY * PENALTY / 2 * slope.square().flatten(1).sum(dim=1).mean()
    return loss


@torch.no_grad()
def _follow(average: dict[str, Tensor], module: nn.Module, share: float) -> None:
    """Move the average of the weights by a share towards those of a module; counts are taken over."""
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, share)
        else:
            average[name].copy_(value)


def _batches(row_count: int, batch_size: int, generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
    order = torch.randperm(row_count, generator=generator, device=device)
    yield from order.tensor_split(-(-row_count // batch_size))


def _logistic(logits: Tensor, label: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _finite(loss: float, epoch: int) -> float:
    if loss != loss or abs(loss) == float("inf"):
        raise InputError(f"the loss stopped being finite in epoch {epoch}; pass a lower learning_rate.")
    return loss


@contextmanager
def _weights_of(module: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Give a module other weights for a while."""
    own = {name: value.detach().clone() for name, value in module.state_dict().items()}
    module.load_state_dict(weights)
    try:
        yield
    finally:
        module.load_state_dict(own)
