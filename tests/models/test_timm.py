"""Networks of timm by name, with its transform: held against a stand-in for the library, which tests do not install."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import auditkit
from auditkit.errors import InputError, ModelFileError
from auditkit.models.factory import build_network
from auditkit.models.timm import image_feature

SETTINGS: dict[str, Any] = {
    "input_size": (3, 16, 16), "interpolation": "bicubic", "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2),
    "crop_pct": 0.8, "crop_mode": "center",
}  # fmt: skip


def make(name: str, num_classes: int = 2) -> nn.Module:
    if name != "tiny18":
        raise RuntimeError(f"Unknown model ({name})")
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(64, num_classes))


@pytest.fixture(autouse=True)
def timm(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    module, data = ModuleType("timm"), ModuleType("timm.data")
    settings = dict(SETTINGS)
    module.create_model = make  # type: ignore[attr-defined]
    data.resolve_model_data_config = lambda network: settings  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", module)
    monkeypatch.setitem(sys.modules, "timm.data", data)
    return settings


def test_the_transform_is_timms(timm: dict[str, Any]) -> None:
    feature = image_feature("timm:tiny18", None, "image")
    assert (feature.shape, feature.resize, feature.resample) == ((3, 16, 16), (20,), "bicubic")
    assert feature.means == pytest.approx((127.5, 102.0, 76.5))
    timm["crop_mode"] = "squash"
    assert image_feature("timm:tiny18", None, "image").resize == (20, 20)
    timm["crop_mode"] = "border"
    with pytest.raises(InputError, match="cut by 'border'; pass a --schema"):
        image_feature("timm:tiny18", None, "image")


def test_an_unknown_name_and_a_missing_library_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelFileError, match=r"timm:tiny19: RuntimeError: Unknown model \(tiny19\)"):
        build_network("timm:tiny19", {})
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelFileError, match=r"no module 'timm' in .* or installed; install it"):
        build_network("timm:tiny18", {})


def test_a_folder_of_images_is_audited_without_a_schema(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(6):
            size = (int(rng.integers(20, 30)), 24, 3)
            Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(
                tmp_path / "photos" / label / f"{number}.png"
            )
    torch.save(make("tiny18").state_dict(), tmp_path / "weights.pt")
    report = auditkit.audit(
        tmp_path / "weights.pt", tmp_path / "photos", target="label", architecture="timm:tiny18", only=["performance"]
    )
    assert report.measurement("performance.accuracy", ()) is not None
    assert [part.error for part in report.outcomes if part.error] == []
