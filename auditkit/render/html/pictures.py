"""Grids as small PNG images inside the page, each cell a byte of a palette."""

from __future__ import annotations

import base64
import io

from auditkit.evidence.measurement import Grid

Colour = tuple[int, int, int]

INK: tuple[Colour, ...] = ((255, 255, 255), (0, 0, 0))
"""From white to black: an image, with large values dark."""

HEAT: tuple[Colour, ...] = ((255, 250, 240), (247, 196, 118), (214, 96, 48), (122, 24, 60), (40, 10, 50))
"""From pale to dark, with lightness falling all the way: it reads without colour, and on paper."""


def picture(grid: Grid, colours: tuple[Colour, ...]) -> str:
    """Return a grid as the address of a PNG image, `data:image/png;base64,...`; 0 has the first colour, 255 the last.

    >>> picture(Grid(height=1, width=1, low=0, high=1, cells="/w=="), INK).startswith("data:image/png;base64,iVBOR")
    True
    """
    from PIL import Image

    image = Image.frombytes("P", (grid.width, grid.height), grid.bytes)
    image.putpalette(b"".join(bytes(_colour(byte / 255, colours)) for byte in range(256)))
    png = io.BytesIO()
    image.save(png, format="PNG", compress_level=9)
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode("ascii")


def _colour(share: float, colours: tuple[Colour, ...]) -> Colour:
    place = share * (len(colours) - 1)
    index = min(int(place), len(colours) - 2)
    part = place - index
    red, green, blue = (
        round(here + part * (there - here)) for here, there in zip(colours[index], colours[index + 1], strict=True)
    )
    return red, green, blue
