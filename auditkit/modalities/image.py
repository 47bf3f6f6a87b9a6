"""Images: pixels, and noise, blur, light, a moved camera and something in front (Hendrycks & Dietterich 2019)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.modalities.base import OUTSIDE_ROWS, Corruption, Reach, Segments
from auditkit.schema.schema import Schema

Images = NDArray[np.float32]

IMAGE_CORRUPTIONS = ("pixel_noise", "blur", "lower_contrast", "brightness", "shift", "occlusion")
"""The names of what `image_corruptions` returns, in its order."""

SQUARES = 7
"""An image is cut into so many squares a side, which are deleted one by one."""

DIRECTIONS = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


def image_corruptions(images: Images, source: Images, *, seed: int) -> list[Corruption]:
    """Return the corruptions of encoded images, (rows, channels, height, width).

    The lowest and the highest pixel of `source` are the range that strengths are shares of, and that no corrupted pixel
    leaves. Without a range there is nothing to corrupt, and no corruption.
    """
    low, high = float(source.min()), float(source.max())
    if not low < high:
        return []
    side = min(images.shape[2:])
    draws = _Draws.of(images, seed)
    return [
        *_corrupted_pixels(images, draws, low=low, high=high, side=side),
        *_corrupted_places(images, draws, fill=float(source.mean(dtype=np.float64)), side=side),
    ]


@dataclass(frozen=True, eq=False)
class _Draws:
    """What chance decides once for each image, the same for every strength."""

    noise: Images
    signs: Images
    direction: NDArray[np.int64]
    corner: NDArray[np.float64]

    @classmethod
    def of(cls, images: Images, seed: int) -> _Draws:
        """Return what is drawn for these images."""
        rng = np.random.default_rng((seed, 11))
        return cls(
            noise=rng.standard_normal(images.shape, dtype=np.float32),
            signs=rng.choice([-1.0, 1.0], len(images)).astype(np.float32)[:, None, None, None],
            direction=rng.integers(0, len(DIRECTIONS), len(images)),
            corner=rng.random((len(images), 2)),
        )


def _corrupted_pixels(images: Images, draws: _Draws, *, low: float, high: float, side: int) -> list[Corruption]:
    """Return the corruptions that change how bright or how sharp pixels are."""
    from scipy import ndimage

    reach = high - low
    means = images.mean(axis=(1, 2, 3), keepdims=True)

    def noisy(strength: float) -> Images:
        return np.clip(images + np.float32(strength * reach) * draws.noise, low, high)

    def blurred(strength: float) -> Images:
        width = strength * side
        return np.asarray(ndimage.gaussian_filter(images, sigma=(0, 0, width, width), mode="nearest"), dtype=np.float32)

    def flatter(strength: float) -> Images:
        flat: Images = means + np.float32(1 - strength) * (images - means)
        return flat

    def lit(strength: float) -> Images:
        return np.clip(images + draws.signs * np.float32(strength * reach), low, high)

    of_range = Message("share of the range of the pixels")
    return [
        Corruption(
            "pixel_noise",
            Message("Noise on pixels"),
            Message("Gaussian noise is added to every pixel; its standard deviation is a share of the pixels' range."),
            of_range,
            noisy,
            strengths=(0.05, 0.1, 0.2, 0.3),
        ),
        Corruption(
            "blur",
            Message("Blur"),
            Message("Gaussian blur, whose standard deviation is a share of the image's shorter side."),
            Message("share of the side"),
            blurred,
            strengths=(0.02, 0.05, 0.1, 0.15),
            stated=0.05,
        ),
        Corruption(
            "lower_contrast",
            Message("Lower contrast"),
            Message("Every pixel moves a share of the way towards the mean of its image."),
            Message("share of the contrast lost"),
            flatter,
            strengths=(0.2, 0.4, 0.6, 0.8),
            stated=0.4,
        ),
        Corruption(
            "brightness",
            Message("Brighter or darker"),
            Message("All pixels of an image are raised, or all lowered, by a share of the pixels' range."),
            of_range,
            lit,
            strengths=(0.05, 0.1, 0.2, 0.3),
        ),
    ]


def _corrupted_places(images: Images, draws: _Draws, *, fill: float, side: int) -> list[Corruption]:
    """Return the corruptions that move the image, or cover a part of it."""

    def moved(strength: float) -> Images:
        return _moved(images, draws.direction, round(strength))

    def covered(strength: float) -> Images:
        return _covered(images, draws.corner, max(1, round(strength * side)), fill)

    pixels = tuple(float(size) for size in sorted({max(1, round(share * side)) for share in (0.05, 0.1, 0.15, 0.2)}))
    return [
        Corruption(
            "shift",
            Message("Shifted"),
            Message("The image is moved by some pixels in one of eight directions; its border is repeated."),
            Message("pixels"),
            moved,
            unit="number",
            strengths=pixels,
            stated=min(pixels, key=lambda size: abs(size - 0.1 * side)),
        ),
        Corruption(
            "occlusion",
            Message("Partly covered"),
            Message("A square at a random place is covered by the mean pixel; its side is a share of the image's."),
            Message("share of the side"),
            covered,
            strengths=(0.1, 0.2, 0.3, 0.5),
            stated=0.2,
        ),
    ]


def _moved(images: Images, direction: NDArray[np.int64], size: int) -> Images:
    height, width = images.shape[2:]
    wide = np.pad(images, ((0, 0), (0, 0), (size, size), (size, size)), mode="edge")
    corrupted = np.empty_like(images)
    for place, (down, right) in enumerate(DIRECTIONS):
        top, left = size - down * size, size - right * size
        chosen = direction == place
        corrupted[chosen] = wide[chosen, :, top : top + height, left : left + width]
    return corrupted


def _covered(images: Images, corner: NDArray[np.float64], size: int, fill: float) -> Images:
    height, width = images.shape[2:]
    tops = (corner[:, 0] * (height - size + 1)).astype(np.int64)[:, None]
    lefts = (corner[:, 1] * (width - size + 1)).astype(np.int64)[:, None]
    rows, columns = np.arange(height), np.arange(width)
    down = (rows >= tops) & (rows < tops + size)
    across = (columns >= lefts) & (columns < lefts + size)
    return np.where((down[:, :, None] & across[:, None, :])[:, None], np.float32(fill), images)


def squares(height: int, width: int, across: int) -> NDArray[np.int64]:
    """Return the number of the square that each pixel lies in, (height, width), of `across` by `across` of them.

    >>> squares(2, 4, 2)
    array([[0, 0, 1, 1],
           [2, 2, 3, 3]])
    """
    down = np.arange(height) * across // height
    right = np.arange(width) * across // width
    return down[:, None] * across + right[None, :]


def without_squares(baseline: NDArray[np.float32], square: NDArray[np.int64]) -> Callable[..., NDArray[np.float32]]:
    """Return the function that puts the baseline's squares in the place of deleted ones (Segments.delete)."""

    def delete(images: NDArray[np.float32], deleted: NDArray[np.bool_]) -> NDArray[np.float32]:
        return np.where(deleted[:, square][:, None], baseline, images)

    return delete


@dataclass(frozen=True)
class Image:
    """Images as pixels, (rows, channels, height, width)."""

    schema: Schema

    name: ClassVar[str] = "image"
    corruption_names: ClassVar[tuple[str, ...]] = IMAGE_CORRUPTIONS
    dear: ClassVar[bool] = True
    columnar: ClassVar[bool] = False
    explained_as: ClassVar[str] = "image"
    compared_by: ClassVar[Message] = Message("on the columns that the model reads and by its scales")
    texts: ClassVar[None] = None
    architecture: ClassVar[str] = "cnn"
    fit_settings: ClassVar[Mapping[str, Any]] = {"batch_size": 64, "patience": 5}  # found on 4,000 MNIST digits

    def encode(self, frame: pd.DataFrame) -> Images:
        """Return pixels, float32, (rows, channels, height, width)."""
        return self.schema.encode(frame)

    def blank(self, count: int) -> Images:
        """Return black images, float32, (count, channels, height, width)."""
        shape = self.schema.features[0].shape
        assert shape is not None
        return np.zeros((count, *shape), dtype=np.float32)

    def comparable(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return the pixels of each image in a row."""
        images = self.encode(frame)
        return np.ascontiguousarray(images.reshape(len(images), -1), dtype=np.float64)

    def segments(self, inputs: Images, source: Images) -> Segments:
        """Return squares, at most 7 a side; a deleted one is that of the mean image of `source`."""
        baseline = source.mean(axis=0, dtype=np.float64).astype(np.float32)
        height, width = inputs.shape[2:]
        square = squares(height, width, min(SQUARES, height, width))
        count = int(square.max()) + 1
        return Segments(np.full(len(inputs), count), count, without_squares(baseline, square))

    def corruptions(self, frame: pd.DataFrame, inputs: Images, source: Images, *, seed: int) -> list[Corruption]:
        """Return noise, blur, light, a moved camera and something in front."""
        return image_corruptions(inputs, source, seed=seed)

    def out_of_distribution(self, inputs: Images, source: Images, *, seed: int) -> dict[str, Images]:
        """Return random pixels, and images all dark and all bright."""
        rng = np.random.default_rng((seed, 31))
        low, high = float(source.min()), float(source.max())
        shape = inputs.shape[1:]
        return {
            "random pixels": rng.uniform(low, high, (OUTSIDE_ROWS, *shape)).astype(np.float32),
            "an image all dark": np.full((1, *shape), low, dtype=np.float32),
            "an image all bright": np.full((1, *shape), high, dtype=np.float32),
        }

    def reach(self, source: Images) -> Reach:
        """Return the range of the pixels, which no pixel leaves."""
        low, high = float(source.min()), float(source.max())
        unit = np.full(source.shape[1:], high - low, dtype=np.float32)
        if not unit.any():
            raise NotRun(Message("no pixel varies, so that there is nothing to change a little"))
        return Reach(unit, (low, high), (0.01, 0.03, 0.1), 0.03, Message("largest change, share of the range"), "rate")
