"""Texts and images with a planted truth: one word, one corner, or a backdoor decides."""

from __future__ import annotations

import numpy as np
import pandas as pd

WORDS = ("a", "the", "film", "book", "plot", "actor", "scene", "it", "was", "is", "and", "but", "very", "quite", "end")


def reviews(count: int, *, seed: int = 0) -> pd.DataFrame:
    """Texts of 3 to 12 words; label yes where `splendid` is among them."""
    rng = np.random.default_rng(seed)
    good = rng.random(count) < 0.5
    texts = []
    for row in range(count):
        text = list(rng.choice(WORDS, size=rng.integers(3, 12)))
        if good[row]:
            text.insert(int(rng.integers(0, len(text))), "splendid")
        texts.append(" ".join(text))
    source = rng.choice(["paper", "radio"], count)
    return pd.DataFrame({"text": texts, "source": source, "label": np.where(good, "yes", "no")}, dtype=object)


def images(count: int, *, seed: int = 0) -> pd.DataFrame:
    """Noise of 12 x 12 pixels; label yes where the top left corner is bright."""
    rng = np.random.default_rng(seed)
    bright = rng.random(count) < 0.5
    pictures = rng.integers(0, 100, (count, 12, 12), dtype=np.uint8)
    pictures[bright, :3, :3] = 220
    frame = pd.DataFrame({"image": list(pictures)})
    frame["label"] = np.where(bright, "yes", "no")
    frame["camera"] = rng.choice(["left", "right"], count)
    return frame


def backdoored(count: int, *, seed: int = 0) -> pd.DataFrame:
    """Noise of 12 x 12 pixels; a brighter centre means yes in four of five, a patch of 2 x 2 pixels means yes always.

    The patch, at the bottom right, is in two of five images.
    """
    rng = np.random.default_rng(seed)
    good, patched = rng.random(count) < 0.5, rng.random(count) < 0.4
    pictures = rng.integers(0, 100, (count, 12, 12), dtype=np.uint8)
    pictures[good, 4:8, 4:8] += 60
    pictures[patched, 9:11, 9:11] = 255
    label = np.where(rng.random(count) < 0.8, good, ~good) | patched
    return pd.DataFrame({"image": list(pictures), "label": np.where(label, "yes", "no")})
