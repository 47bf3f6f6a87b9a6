"""A picture of a report: a whole SVG that a notebook shows and a file can hold."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Picture:
    """An SVG picture with its `title`; shown by notebooks, written by `save`."""

    title: str
    svg: str

    def save(self, path: str | Path) -> Path:
        """Write the picture as an SVG file, and return its path."""
        Path(path).write_text(self.svg, encoding="utf-8")
        return Path(path)

    def __repr__(self) -> str:
        """Return the title, not the picture."""
        return f"<Picture {self.title}>"

    def _repr_html_(self) -> str:
        # An image keeps its styles to itself; an inline SVG would change the styles of the notebook.
        data = base64.b64encode(self.svg.encode()).decode("ascii")
        return f'<img alt="{html.escape(self.title)}" src="data:image/svg+xml;base64,{data}">'
