"""What an output format is: the file that it is written to, and the pure function that makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Renderer(NamedTuple):
    """An output format, registered under the entry point group `auditkit.renderers`.

    `function(report, **options)` returns the text of the file, or the bytes of a PDF; it opens nothing and asks no
    clock. `options` names what it takes beside the report: "lang", the language of a page, and "facts", what people
    stated in facts.toml.
    """

    file: str
    function: Callable[..., str | bytes]
    options: tuple[str, ...] = ()
