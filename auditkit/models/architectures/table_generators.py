"""`tvae` and `ctgan-like`: small generators of tables with numbers and categories (after Xu et al. 2019).

A number is described by one of a few modes, normal distributions that were fitted to its column, and by how far it
lies from the middle of that mode, in four of its deviations: mode-specific normalisation in its simple form. A
category is one of several options; a missing value is one more option. `forward(latent)` takes standard normal values,
(rows, *latent_shape), and returns values, (rows, columns): numbers, positions of options, NaN where missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditkit.errors import ModelFileError
from auditkit.models.architectures.arguments import require_list, require_width
from auditkit.models.networks import TableGenerator, WithDiscriminator, WithRowLosses

DEVIATIONS = 4.0
"""A number lies within so many deviations of the middle of its mode."""

RECONSTRUCTION_WEIGHT = 2.0

MOST_COLUMNS, MOST_OPTIONS, MOST_CELLS = 1_000, 1_000, 20_000
TEMPERATURE = 0.2
"""Of the softmax that stands for a choice while the adversarial pair is trained (Jang et al. 2017)."""


class TableColumns(nn.Module):
    """The columns of a table, and how their values are cells: numbers' distances first, then a block a column.

    `columns` are as in the card: `name`, `modes` (mean and deviation each) or `options` (words), `missing`, `decimals`.
    """

    def __init__(self, columns: Sequence[Mapping[str, Any]]) -> None:
        """Lay out the cells."""
        super().__init__()
        self.columns = tuple(dict(column) for column in columns)
        self.widths = [len(column["modes"] or column["options"]) + bool(column["missing"]) for column in self.columns]
        self.number_count = sum(bool(column["modes"]) for column in self.columns)
        self.width = self.number_count + sum(self.widths)

    def values(self, distances: Tensor, scores: Tensor) -> Tensor:
        """Return values, float64, (rows, columns), of distances, (rows, numbers), and the scores of all options."""
        found, at = [], 0
        for column, block in zip(self.columns, scores.split(self.widths, dim=1), strict=True):
            option = block.argmax(dim=1)
            missing = option == block.shape[1] - 1 if column["missing"] else torch.zeros_like(option, dtype=torch.bool)
            value = option.double()
            if column["modes"]:
                modes = torch.tensor([*column["modes"], [0.0, 0.0]], dtype=torch.float64, device=scores.device)
                mean, deviation = modes[option.clamp(max=len(column["modes"]))].unbind(dim=1)
                value = mean + DEVIATIONS * deviation * distances[:, at].double().clamp(-1, 1)
                at += 1
            found.append(value.masked_fill(missing, math.nan))
        return torch.stack(found, dim=1)


class TableVae(TableColumns, TableGenerator, WithRowLosses):
    """A variational autoencoder of the cells of a table."""

    def __init__(self, columns: Sequence[Mapping[str, Any]], latent_width: int, hidden: int) -> None:
        """Build both halves, each with two hidden layers."""
        super().__init__(columns)
        self.latent_width = latent_width
        self.latent_shape = (latent_width + self.width,)
        self.encoder = _layers(self.width, hidden, 2 * latent_width, nn.ReLU())
        self.decoder = _layers(latent_width, hidden, self.width, nn.ReLU())
        self.log_deviation = nn.Parameter(torch.full((self.number_count,), -2.0))

    def forward(self, latent: Tensor) -> Tensor:
        """Return values, (rows, columns); the latent values behind the first decide what is drawn."""
        noise = latent[:, self.latent_width :]
        distances, scores = self.decoder(latent[:, : self.latent_width]).split(self._parts(), dim=1)
        distances = distances.tanh() + self.log_deviation.exp() * noise[:, : self.number_count]
        return self.values(distances, scores + _gumbel(noise[:, self.number_count :]))

    def row_losses(self, cells: Tensor, noise: Tensor) -> Tensor:
        """Return the loss of each row's cells, (rows, width), in nats: (rows,).

        The negative evidence lower bound with the reconstruction counted twice, as its authors do: else the latent
        values of few cells tend to say nothing.
        """
        mean, log_variance = self.encoder(cells).chunk(2, dim=1)
        hidden = mean + noise[:, : self.latent_width] * (log_variance / 2).exp()
        found, scores = self.decoder(hidden).split(self._parts(), dim=1)
        distances, options = cells.split(self._parts(), dim=1)
        standardised = (distances - found.tanh()) / self.log_deviation.exp()
        losses: Tensor = (0.5 * standardised.square() + self.log_deviation).sum(dim=1)
        blocks = zip(scores.split(self.widths, dim=1), options.split(self.widths, dim=1), strict=True)
        for block, chosen in blocks:
            losses = losses - (functional.log_softmax(block, dim=1) * chosen).sum(dim=1)
        divergence: Tensor = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
        return RECONSTRUCTION_WEIGHT * losses + divergence

    def _parts(self) -> list[int]:
        return [self.number_count, self.width - self.number_count]


class TableGan(TableColumns, TableGenerator, WithDiscriminator):
    """A generative adversarial network of the cells of a table, without the conditional vector of CTGAN."""

    def __init__(self, columns: Sequence[Mapping[str, Any]], latent_width: int, hidden: int) -> None:
        """Build generator and discriminator, each with two hidden layers."""
        super().__init__(columns)
        self.latent_width = latent_width
        self.latent_shape = (latent_width + self.width - self.number_count,)
        self.generator = nn.Sequential(
            nn.Linear(latent_width, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, self.width),
        )
        self.discriminator = _layers(self.width, hidden, 1, nn.LeakyReLU(0.2))

    def forward(self, latent: Tensor) -> Tensor:
        """Return values, (rows, columns)."""
        return self.values(*self._drawn(latent))

    def made(self, latent: Tensor) -> Tensor:
        """Return cells, (rows, width), in which a choice is a softmax: what the discriminator reads."""
        distances, scores = self._drawn(latent)
        blocks = [(block / TEMPERATURE).softmax(dim=1) for block in scores.split(self.widths, dim=1)]
        return torch.cat([distances, *blocks], dim=1)

    def discriminate(self, cells: Tensor) -> Tensor:
        """Return the logit that each row of cells is real, (rows,)."""
        logits: Tensor = self.discriminator(cells)
        return logits.squeeze(1)

    def _drawn(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        cells = self.generator(latent[:, : self.latent_width])
        scores = cells[:, self.number_count :] + _gumbel(latent[:, self.latent_width :])
        return cells[:, : self.number_count].tanh(), scores


def _layers(width: int, hidden: int, outputs: int, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, hidden), activation, nn.Linear(hidden, hidden), activation, nn.Linear(hidden, outputs)
    )


def _gumbel(noise: Tensor) -> Tensor:
    """Return Gumbel values of standard normal ones: the largest of score and noise is a draw from the softmax."""
    shares: Tensor = torch.special.ndtr(noise.float()).clamp(1e-7, 1 - 1e-7)
    return -(-shares.log()).log()


def tvae(*, columns: Sequence[Mapping[str, Any]], latent_width: int = 32, hidden: int = 128) -> TableVae:
    """Return a variational autoencoder of a table with these columns.

    Raises:
        ModelFileError: an argument is out of range.
    """
    _require_columns("tvae", columns)
    require_width("tvae", latent_width, hidden, most=10_000)
    return TableVae(columns, latent_width, hidden)


def ctgan_like(*, columns: Sequence[Mapping[str, Any]], latent_width: int = 64, hidden: int = 256) -> TableGan:
    """Return a generative adversarial network of a table with these columns.

    Raises:
        ModelFileError: an argument is out of range.
    """
    _require_columns("ctgan-like", columns)
    require_width("ctgan-like", latent_width, hidden, most=10_000)
    return TableGan(columns, latent_width, hidden)


def _require_columns(name: str, columns: Sequence[Mapping[str, Any]]) -> None:
    require_list(name, "columns", columns, most=MOST_COLUMNS)
    for column in columns:
        if not isinstance(column, Mapping) or set(column) != {"name", "modes", "options", "missing", "decimals"}:
            raise ModelFileError(f"architecture {name}: a column has a name, modes, options, missing and decimals.")
        modes, options = column["modes"], column["options"]
        require_list(name, "modes", modes, most=MOST_OPTIONS)
        require_list(name, "options", options, most=MOST_OPTIONS)
        right = all(isinstance(mode, Sequence) and len(mode) == 2 and all(map(_is_number, mode)) for mode in modes)
        decimals = column["decimals"]
        right = right and all(isinstance(option, str) for option in options) and isinstance(column["name"], str)
        right = right and isinstance(column["missing"], bool) and isinstance(decimals, int) and 0 <= decimals <= 15
        if not right or bool(modes) == bool(options):
            raise ModelFileError(f"architecture {name}: a column has modes, pairs of numbers, or options, words.")
    cells = sum(len(column["modes"]) + len(column["options"]) + 2 for column in columns)
    if not columns or cells > MOST_CELLS:
        raise ModelFileError(f"architecture {name}: columns must have 1 to {MOST_CELLS:,} cells, got {cells:,}.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
