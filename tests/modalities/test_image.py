"""Corruptions of images: naive loops over pixels, ranges, and what must stay as it is."""

from __future__ import annotations

import numpy as np
import pytest

from auditkit.modalities.base import Corruption
from auditkit.modalities.image import DIRECTIONS, IMAGE_CORRUPTIONS, image_corruptions


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 2, (40, 3, 20, 24)).astype(np.float32)


@pytest.fixture(scope="module")
def corruptions(images: np.ndarray) -> dict[str, Corruption]:
    return {corruption.name: corruption for corruption in image_corruptions(images, images, seed=1)}


def test_corruptions_are_seeded_and_keep_form_and_range(images: np.ndarray, corruptions: dict[str, Corruption]) -> None:
    assert tuple(corruptions) == IMAGE_CORRUPTIONS
    again = {corruption.name: corruption for corruption in image_corruptions(images, images, seed=1)}
    for name, corruption in corruptions.items():
        assert corruption.stated in corruption.strengths
        for strength in corruption.strengths:
            corrupted = corruption.at(strength)
            assert (corrupted.shape, corrupted.dtype) == (images.shape, np.float32)
            assert corrupted.min() >= images.min() - 1e-5
            assert corrupted.max() <= images.max() + 1e-5
            assert np.array_equal(corrupted, again[name].at(strength))
            assert not np.array_equal(corrupted, images)


def test_a_shift_is_the_image_moved_with_its_border_repeated(
    images: np.ndarray, corruptions: dict[str, Corruption]
) -> None:
    moved = corruptions["shift"].at(2.0)
    for image, found in zip(images, moved, strict=True):
        candidates = []
        for down, right in DIRECTIONS:
            naive = np.empty_like(image)
            for row in range(20):
                for column in range(24):
                    source = min(max(row - 2 * down, 0), 19), min(max(column - 2 * right, 0), 23)
                    naive[:, row, column] = image[:, source[0], source[1]]
            candidates.append(np.array_equal(naive, found))
        assert sum(candidates) == 1
    assert all(size == round(size) >= 1 for size in corruptions["shift"].strengths)


def test_a_covered_image_has_one_square_of_the_mean(images: np.ndarray, corruptions: dict[str, Corruption]) -> None:
    covered = corruptions["occlusion"].at(0.3)  # 0.3 of 20 is 6
    for image, found in zip(images, covered, strict=True):
        changed = (image != found).any(axis=0)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        assert (len(rows), len(columns), changed.sum()) == (6, 6, 36)
        assert found[:, changed] == pytest.approx(images.mean(), abs=1e-5)


def test_contrast_keeps_the_mean_and_blur_keeps_a_flat_image(
    images: np.ndarray, corruptions: dict[str, Corruption]
) -> None:
    flatter = corruptions["lower_contrast"].at(0.8)
    assert flatter.mean(axis=(1, 2, 3)) == pytest.approx(images.mean(axis=(1, 2, 3)), abs=1e-5)
    assert flatter.std(axis=(1, 2, 3)) == pytest.approx(0.2 * images.std(axis=(1, 2, 3)), rel=1e-3)
    flat = np.full((2, 1, 8, 8), 0.5, dtype=np.float32)
    (blur,) = (corruption for corruption in image_corruptions(flat, images, seed=0) if corruption.name == "blur")
    assert blur.at(0.15) == pytest.approx(flat, abs=1e-6)


def test_images_without_a_range_cannot_be_corrupted() -> None:
    flat = np.zeros((5, 1, 8, 8), dtype=np.float32)
    assert image_corruptions(flat, flat, seed=0) == []


def test_tiny_images_are_corrupted_too() -> None:
    tiny = np.random.default_rng(2).random((10, 1, 2, 2)).astype(np.float32)
    for corruption in image_corruptions(tiny, tiny, seed=0):
        for strength in corruption.strengths:
            assert corruption.at(strength).shape == tiny.shape
