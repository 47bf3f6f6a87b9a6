"""`vae`, `dcgan` and `ddpm`: small generators of images; each maps standard normal latent values to images.

`forward(latent)` takes float32 (rows, *latent_shape) and returns images, (rows, channels, height, width), in [0, 1].
`latent_shape` is an attribute. Height and width must be multiples of 4.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditkit.errors import ModelFileError
from auditkit.models.architectures.arguments import require_list, require_width
from auditkit.models.networks import WithDiscriminator, WithEncoder, WithRowLosses

MAXIMUM_SIDE = 256


class Vae(WithEncoder, WithRowLosses, nn.Module):
    """A variational autoencoder (Kingma & Welling 2014) with two convolutions on each side, without BatchNorm."""

    def __init__(self, input_shape: tuple[int, int, int], latent_width: int, channels: int) -> None:
        """Build both halves; `channels` is the width of the outer convolutions, the inner ones are twice as wide."""
        super().__init__()
        depth, height, width = input_shape
        self.latent_shape = (latent_width,)
        inner = (2 * channels, height // 4, width // 4)
        self.encoder = nn.Sequential(
            nn.Conv2d(depth, channels, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(math.prod(inner), 2 * latent_width),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_width, math.prod(inner)),
            nn.ReLU(),
            nn.Unflatten(1, inner),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, depth, 4, stride=2, padding=1),
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Return images, (rows, channels, height, width), of latent values, (rows, latent_width)."""
        images: Tensor = self.decoder(latent).sigmoid()
        return images

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log variance of each image's latent values, each (rows, latent_width)."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def row_losses(self, images: Tensor, noise: Tensor) -> Tensor:
        """Return the negative evidence lower bound of each image, in nats, (rows,); `noise` is (rows, latent_width)."""
        mean, log_variance = self.encode(images)
        logits = self.decoder(mean + noise * (log_variance / 2).exp())
        reconstruction = functional.binary_cross_entropy_with_logits(logits, images, reduction="none").flatten(1).sum(1)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
        return reconstruction + divergence


class Dcgan(WithDiscriminator, nn.Module):
    """A generative adversarial network of convolutions (Radford et al. 2016).

    The discriminator has no BatchNorm, which mixes rows: it can be trained by DP-SGD.
    """

    def __init__(self, input_shape: tuple[int, int, int], latent_width: int, channels: int) -> None:
        """Build generator and discriminator; `channels` is the width of the outer convolutions."""
        super().__init__()
        depth, height, width = input_shape
        self.latent_shape = (latent_width,)
        inner = (2 * channels, height // 4, width // 4)
        self.generator = nn.Sequential(
            nn.Linear(latent_width, math.prod(inner), bias=False),
            nn.BatchNorm1d(math.prod(inner)),
            nn.ReLU(),
            nn.Unflatten(1, inner),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, depth, 4, stride=2, padding=1),
        )
        self.discriminator = nn.Sequential(
            nn.Conv2d(depth, channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(math.prod(inner), 1),
        )
        # Only the generator starts as small as in Radford et al.: a discriminator without BatchNorm that does sees
        # nothing, and the generator collapses to one image.
        for module in self.generator.modules():
            if isinstance(module, nn.ConvTranspose2d | nn.Linear):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, latent: Tensor) -> Tensor:
        """Return images, (rows, channels, height, width), of latent values, (rows, latent_width)."""
        images: Tensor = self.generator(latent).sigmoid()
        return images

    def made(self, latent: Tensor) -> Tensor:
        """Return what the discriminator reads: the images themselves."""
        return self(latent)  # type: ignore[no-any-return]  # see forward

    def discriminate(self, images: Tensor) -> Tensor:
        """Return the logit that each image is real, (rows,)."""
        logits: Tensor = self.discriminator(images * 2 - 1)
        return logits.squeeze(1)


class Ddpm(WithRowLosses, nn.Module):
    """A denoising diffusion model (Ho et al. 2020), sampled in a few deterministic steps (Song et al. 2021).

    The denoiser works on patches of 4 x 4 pixels by residual blocks of convolutions; it predicts the velocity
    (Salimans & Ho 2022) on a cosine schedule.
    """

    def __init__(self, input_shape: tuple[int, int, int], channels: int, block_count: int, step_count: int) -> None:
        """Build the denoiser: `block_count` residual blocks of `channels`, sampled in `step_count` steps."""
        super().__init__()
        depth = input_shape[0] * 16
        self.latent_shape = tuple(input_shape)
        self.step_count = step_count
        self.patches, self.pixels = nn.PixelUnshuffle(4), nn.PixelShuffle(4)
        self.time = nn.Sequential(nn.Linear(32, channels), nn.SiLU(), nn.Linear(channels, channels))
        self.into = nn.Conv2d(depth, channels, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(1, channels, input_shape[1] // 4, input_shape[2] // 4))
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(block_count))
        self.out = nn.Conv2d(channels, depth, 3, padding=1)

    def velocity(self, noisy: Tensor, time: Tensor) -> Tensor:
        """Return the velocity of noisy images in [-1, 1] at `time`, (rows,), from 0 (clean) to 1 (noise)."""
        frequencies = torch.exp(torch.linspace(0, math.log(1000), 16, device=time.device))
        angles = time[:, None] * frequencies
        embedded = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))[:, :, None, None]
        hidden = self.into(self.patches(noisy)) + self.place
        for block in self.blocks:
            hidden = block(hidden, embedded)
        velocity: Tensor = self.pixels(self.out(hidden))
        return velocity

    def row_losses(self, images: Tensor, noise: Tensor) -> Tensor:
        """Return the squared error of the velocity of each image, (rows,).

        `noise` is (rows, 1 + pixels): a standard normal value that chooses the time, and the noise of each pixel.
        """
        clean = images * 2 - 1
        time = torch.special.ndtr(noise[:, 0])  # uniform between 0 and 1
        added = noise[:, 1:].reshape(clean.shape)
        signal, spread = _schedule(time)
        found = self.velocity(signal * clean + spread * added, time)
        return (found - (signal * added - spread * clean)).square().flatten(1).mean(dim=1)

    def forward(self, latent: Tensor) -> Tensor:
        """Return images, (rows, channels, height, width), of noise of the same shape."""
        noisy = latent
        times = torch.linspace(1, 0, self.step_count + 1, device=latent.device)
        for now, then in itertools.pairwise(times):
            here, there = (_schedule(time.expand(len(latent))) for time in (now, then))
            velocity = self.velocity(noisy, now.expand(len(latent)))
            clean = (here[0] * noisy - here[1] * velocity).clamp(-1, 1)
            noise = here[1] * noisy + here[0] * velocity
            noisy = there[0] * clean + there[1] * noise
        return ((noisy + 1) / 2).clamp(0, 1)


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, hidden: Tensor, embedded: Tensor) -> Tensor:
        inner = self.first(functional.silu(self.norm(hidden))) + embedded
        result: Tensor = hidden + self.second(functional.silu(inner))
        return result


def _schedule(time: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shares of image and noise at each time, (rows, 1, 1, 1): a quarter of a circle."""
    angle = time[:, None, None, None] * (math.pi / 2)
    return angle.cos(), angle.sin()


def vae(*, input_shape: Sequence[int], latent_width: int = 16, channels: int = 32) -> Vae:
    """Return a variational autoencoder of images of `input_shape` (channels, height, width).

    Raises:
        ModelFileError: an argument is out of range.
    """
    shape = _shape("vae", input_shape)
    require_width("vae", latent_width, channels)
    return Vae(shape, latent_width, channels)


def dcgan(*, input_shape: Sequence[int], latent_width: int = 64, channels: int = 32) -> Dcgan:
    """Return a generative adversarial network of images of `input_shape` (channels, height, width).

    Raises:
        ModelFileError: an argument is out of range.
    """
    shape = _shape("dcgan", input_shape)
    require_width("dcgan", latent_width, channels)
    return Dcgan(shape, latent_width, channels)


def ddpm(*, input_shape: Sequence[int], channels: int = 128, block_count: int = 4, step_count: int = 25) -> Ddpm:
    """Return a diffusion model of images of `input_shape` (channels, height, width).

    Raises:
        ModelFileError: an argument is out of range.
    """
    shape = _shape("ddpm", input_shape)
    require_width("ddpm", channels, block_count, step_count)
    if channels % 8 or block_count > 64 or step_count > 1000:
        raise ModelFileError(
            "architecture ddpm: channels must be a multiple of 8, block_count at most 64 and step_count at most 1,000."
        )
    return Ddpm(shape, channels, block_count, step_count)


def _shape(name: str, input_shape: Sequence[int]) -> tuple[int, int, int]:
    require_list(name, "input_shape", input_shape, most=3)
    if len(input_shape) != 3:
        raise ModelFileError(f"architecture {name}: input_shape must be channels, height and width.")
    require_width(name, *input_shape, what="a side of input_shape", most=MAXIMUM_SIDE)
    depth, height, width = input_shape
    if height % 4 or width % 4:
        raise ModelFileError(
            f"architecture {name}: height and width must be multiples of 4, got {height}x{width}; resize the images."
        )
    return depth, height, width
