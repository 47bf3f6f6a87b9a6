"""The report card on paper: the same page as a tagged PDF, by WeasyPrint (the extra `pdf`)."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from auditkit.compliance.facts import Facts
from auditkit.errors import InputError
from auditkit.evidence.report import Report
from auditkit.extras import install_extra
from auditkit.render.html.environment import packaged
from auditkit.render.html.first import summary_html
from auditkit.render.html.report import render_html
from auditkit.render.renderer import Renderer

_LINES = (
    "polyline.line { stroke-width: 7; } .identity { stroke-width: 4; } .cell text, .strip text { font-size: 10px; }"
)
"""WeasyPrint lacks `vector-effect`: the strokes of a stretched plot shrink with it, to about a quarter."""


_ONE_COLUMN = "@media print { .exhibits { columns: auto; } }"
"""WeasyPrint 70 fails an assertion of its own where tables that span two columns go over a page."""

SUMMARY_SIZES = (12, 11, 10, 9, 8)
"""Sizes of the text of a summary in pixels: the first at which it fits on one page."""


def render_pdf(report: Report, lang: str = "en", facts: Facts | None = None) -> bytes:
    """Return the report card of `report` as a PDF; equal reports give equal bytes with the same fonts and versions.

    Raises:
        InputError: WeasyPrint, or the Pango that it needs, is not installed.
    """
    return _pdf(report, lambda html: html(render_html(report, lang, facts)).render())


def render_summary_pdf(report: Report, lang: str = "en", facts: Facts | None = None) -> bytes:
    """Return the first page of the report card as a PDF of one page, with a line for a signature.

    Raises:
        InputError: WeasyPrint, or the Pango that it needs, is not installed.
    """
    page = summary_html(report, lang, facts)

    def fitted(html: Callable[[str], Any]) -> Any:
        for size in SUMMARY_SIZES:
            document = html(page.replace("</style>", f":root {{ font-size: {size}px }}</style>", 1)).render()
            if len(document.pages) == 1:
                break
        return document

    return _pdf(report, fitted)


def _pdf(report: Report, rendered: Callable[[Callable[[str], Any]], Any]) -> bytes:
    """Return what `rendered` makes of WeasyPrint's HTML, as the bytes of a tagged PDF."""
    check_pdf()
    from weasyprint import HTML

    # It warns of each CSS property of the screen that paper does not know.
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    document = rendered(lambda page: HTML(string=for_paper(page)))
    with _dated(report):
        pdf: bytes = document.write_pdf(pdf_tags=True, pdf_identifier=report.run_id.encode())
    return pdf


@contextlib.contextmanager
def _dated(report: Report) -> Iterator[None]:
    """Let fontTools write the report's time into the fonts that it cuts down, and not today's."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = str(int(report.created.timestamp()))
    try:
        yield
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before


def check_pdf() -> None:
    """Check, before a long run, that a PDF could be made.

    Raises:
        InputError: WeasyPrint, or the Pango that it needs, is not installed.
    """
    try:
        import weasyprint  # noqa: F401  # only whether it opens
    except ImportError as error:
        raise InputError(f"a PDF needs WeasyPrint; {install_extra('pdf')}.") from error
    except OSError as error:
        raise InputError(
            "a PDF needs Pango and HarfBuzz; apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0."
        ) from error


def for_paper(page: str) -> str:
    """Return a page whose pictures carry their own styles, in one column.

    WeasyPrint applies the styles of a page to none of its SVG.

    >>> for_paper('<svg class="glyph fail" width="9"><use href="#shape-fail"/></svg>')[:45]
    '<svg class="glyph fail" width="9" viewBox="0 '
    """
    chinese = '<html lang="zh' in page
    page = page.replace("</style>", f"{_ONE_COLUMN}</style>", 1)
    page = re.sub(
        r'(<svg class="glyph [\w-]+"[^>]*)><use href="#shape-([\w-]+)"/>',
        lambda match: f'{match[1]} viewBox="0 0 20 20"><style>{_styles()[0]}</style>{_shapes()[match[2]]}',
        page,
    )
    return re.sub(
        r'<svg (?:class="(?:chart|strip|cell)|width="(?:26|34)")[^>]*>',
        lambda match: f"{match[0]}<style>{_styles()[2 if chinese else 1]}</style>",
        page,
    )


@cache
def _styles() -> tuple[str, str, str]:
    """The rules of card.css for glyphs, charts, and charts in Chinese, in the colours of a light page."""
    css = packaged("card.css")
    colours = dict(re.findall(r"--([\w-]+): ([^;]+);", css.partition("}")[0]))
    glyphs = "".join(re.findall(r"(?m)^\.(?:glyph|solid|cut|open)[ .,].*$", css))
    charts = css.partition("/* Charts */")[2].partition("@media")[0]
    glyphs, charts = (re.sub(r"var\(--([\w-]+)\)", lambda match: colours[match[1]], part) for part in (glyphs, charts))
    fonts = re.findall(r"--text: ([^;]+);", css)
    english, chinese = (f"text {{ font-family: {font}; }} {charts}{_LINES}" for font in fonts)
    return glyphs, english, chinese


@cache
def _shapes() -> dict[str, str]:
    return dict(re.findall(r'<symbol id="shape-([\w-]+)"[^>]*>(.*?)</symbol>', packaged("shapes.svg"), re.DOTALL))


RENDERER = Renderer("report.pdf", render_pdf, ("lang", "facts"))
SUMMARY = Renderer("summary.pdf", render_summary_pdf, ("lang", "facts"))
