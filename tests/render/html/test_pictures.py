from __future__ import annotations

import base64
import io
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image

from auditkit.evidence.measurement import Grid, grid_of
from auditkit.render.html.pictures import HEAT, INK, picture


def read(address: str) -> Image.Image:
    head, _, body = address.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB")


def test_a_picture_is_the_grid_cell_by_cell() -> None:
    image = read(picture(grid_of([[0.0, 1.0, 2.0], [2.0, 1.0, 0.5]]), INK))
    assert image.size == (3, 2)
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((2, 0)) == image.getpixel((0, 1)) == (0, 0, 0)
    assert image.getpixel((1, 0)) == image.getpixel((1, 1)) == (127, 127, 127)


def test_lightness_falls_all_the_way() -> None:
    image = read(picture(grid_of([[float(value) for value in range(256)]]), HEAT)).convert("L")
    levels: list[Any] = [image.getpixel((x, 0)) for x in range(256)]
    assert all(here >= there for here, there in pairwise(levels))
    assert levels[0] > 240
    assert levels[-1] < 40


def test_an_even_grid_and_bad_grids() -> None:
    assert grid_of([[3.0, 3.0]]).bytes == b"\0\0"
    with pytest.raises(ValueError, match="has 1 cells, not 2 x 1"):
        Grid(height=2, width=1, low=0, high=1, cells="AA==")
    with pytest.raises(ValueError, match="not base64"):
        Grid(height=1, width=1, low=0, high=1, cells="A!")
