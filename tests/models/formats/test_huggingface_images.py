"""Hugging Face folders of image classifiers: the processor is read from its file, and images of any size fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import auditkit
from auditkit.data.dataset import read_data
from auditkit.errors import ModelFileError
from auditkit.models.formats.huggingface_images import image_feature
from auditkit.models.formats.opening import open_model
from auditkit.models.from_columns import Columns
from auditkit.schema.table import Feature

MEANS, DEVIATIONS = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
PROCESSOR = {
    "do_resize": True,
    "size": {"shortest_edge": 20},
    "resample": 2,
    "do_center_crop": True,
    "crop_size": {"height": 16, "width": 16},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": MEANS,
    "image_std": DEVIATIONS,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16, patch_size=8,
        id2label={0: "cat", 1: "dog"}, label2id={"cat": 0, "dog": 1},
    )  # fmt: skip
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("hf") / "vit"
    transformers.ViTForImageClassification(config).eval().save_pretrained(place)  # type: ignore[no-untyped-call]
    (place / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return place


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colours and greys of several sizes, a folder a class."""
    rng = np.random.default_rng(0)
    place = tmp_path_factory.mktemp("images")
    for label in ("cat", "dog"):
        (place / label).mkdir()
        for number in range(12):
            size = (int(rng.integers(20, 40)), int(rng.integers(20, 40)), 3)
            pixels = rng.integers(0, 256, size[:2] if number % 4 == 0 else size, dtype=np.uint8)
            Image.fromarray(pixels).save(place / label / f"{number:02}.png")
    return place


def by_hand(path: Path) -> np.ndarray:
    image = Image.open(path).convert("RGB")
    shorter = min(image.size)
    image = image.resize((20 * image.width // shorter, 20 * image.height // shorter), Image.Resampling.BILINEAR)
    left, top = round((image.width - 16) / 2), round((image.height - 16) / 2)
    cells = np.asarray(image.crop((left, top, left + 16, top + 16)), dtype=np.float64) / 255
    scaled: np.ndarray = (cells - np.array(MEANS)) / np.array(DEVIATIONS)
    return scaled.transpose(2, 0, 1)


def test_images_of_mixed_sizes_reach_the_model_as_its_processor_makes_them(folder: Path, images: Path) -> None:
    rows = read_data(images)
    opened = open_model(folder, columns=Columns(read_rows=lambda: rows, read_training=lambda: None, target="label"))
    assert opened.schema.classes == ("cat", "dog")
    expected = np.stack([by_hand(images / name) for name in rows.frame["file_name"]])
    encoded = opened.schema.encode(rows.frame)
    assert encoded == pytest.approx(expected, abs=1e-5)
    network = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        wanted = network(pixel_values=torch.from_numpy(expected).float()).logits
        assert torch.allclose(opened.module(torch.from_numpy(encoded)), wanted, atol=1e-5)


def test_an_image_classifier_is_audited(folder: Path, images: Path) -> None:
    report = auditkit.audit(folder, images, target="label", only=["performance", "explainability", "robustness"])
    assert [part.error for part in report.outcomes if part.error] == []
    shares = report.measurement("explainability.region_attribution_share", ("region",))
    assert shares is not None
    assert shares.count == 24


@pytest.mark.parametrize(
    ("changed", "shape", "resize"),
    [
        ({}, (3, 16, 16), (20,)),
        ({"do_center_crop": False, "size": {"height": 24, "width": 20}}, (3, 24, 20), (24, 20)),
        ({"do_center_crop": False, "size": 18}, (3, 18, 18), (18,)),
        ({"do_resize": False}, (3, 16, 16), ()),
    ],
)
def test_processors_are_read(changed: dict[str, object], shape: tuple[int, ...], resize: tuple[int, ...]) -> None:
    feature = image_feature({**PROCESSOR, **changed}, "image", 3, "p")
    assert (feature.shape, feature.resize) == (shape, resize)
    assert feature.means == pytest.approx((127.5, 102, 76.5))
    assert feature.scales == pytest.approx((51, 63.75, 76.5))


def test_processors_that_a_schema_cannot_express_are_refused() -> None:
    for changed in ({"size": {"longest_edge": 20}, "do_center_crop": False}, {"resample": 9}):
        with pytest.raises(ModelFileError, match="pass --preprocess"):
            image_feature({**PROCESSOR, **changed}, "image", 3, "p")


def test_a_schema_refuses_a_transform_that_does_not_fit() -> None:
    for given, match in (
        ({"resize": (8,)}, "at least the shape 16x16"),
        ({"means": (1.0,)}, "one number for each of 3 channels"),
    ):
        with pytest.raises(ValueError, match=match):
            Feature(name="image", kind="image", shape=(3, 16, 16), **given)
    with pytest.raises(ValueError, match="are for images"):
        Feature(name="age", kind="numeric", resize=(8,))
