"""The pictures of the documentation, from the gallery: `make screenshots`. Each stays under 150 kB.

The signs of the pull-request comment need a font of emoji (Debian: fonts-noto-color-emoji).
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

from markdown_it import MarkdownIt
from PIL import Image
from playwright.sync_api import sync_playwright

from auditkit.evidence.report import read_report
from auditkit.render.html.report import render_html

ROOT = Path(__file__).parents[1]
CENSUS = ROOT / "reports/census"
LARGEST = 150_000  # bytes
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
COMMENT = """<!DOCTYPE html><meta charset="utf-8"><style>
body { margin: 0; padding: 20px; background: #f6f8fa; font: 14px/1.5 system-ui, sans-serif; color: #1f2328; }
main { background: #fff; border: 1px solid #d1d9e0; border-radius: 6px; padding: 16px; }
table { border-collapse: collapse; } td, th { border: 1px solid #d1d9e0; padding: 6px 13px; text-align: left; }
td:first-child { white-space: nowrap; } h2 { margin-top: 0; border-bottom: 1px solid #d1d9e0; padding-bottom: .3em; }
</style><main>%s</main>"""


class Shot(NamedTuple):
    """A picture: the file that it is written to, the page, the window, and the element that it begins with."""

    file: str
    page: str
    width: int
    height: int
    scheme: Literal["light", "dark"] = "light"
    begins: str = "body"


def main() -> None:
    """Write every picture beside this file."""
    report = read_report(CENSUS / "results.json")
    card, chinese = render_html(report), render_html(report, "zh")
    comment = COMMENT % MarkdownIt("commonmark").enable("table").render((CENSUS / "summary.md").read_text("utf-8"))
    fairness = f".card:has(#auditor-{1 + [outcome.auditor for outcome in report.outcomes].index('fairness')})"
    shots = [
        Shot("report.png", card, 1200, 1000),
        Shot("report-dark.png", card, 1200, 900, "dark", fairness),
        Shot("report-phone.png", card, 390, 844),
        Shot("report-zh.png", chinese, 1200, 900),
        Shot("comment.png", comment, 980, 560),
    ]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        for shot in shots:
            path = Path(folder, "page.html")
            path.write_text(shot.page, encoding="utf-8")
            page = chromium.new_page(
                viewport={"width": shot.width, "height": shot.height}, color_scheme=shot.scheme, device_scale_factor=1
            )
            page.goto(path.as_uri())
            top = page.locator(shot.begins).first.evaluate("element => element.getBoundingClientRect().top + scrollY")
            clip = {"x": 0, "y": max(0, top - 24), "width": shot.width, "height": shot.height}
            picture = small(page.screenshot(full_page=True, clip=clip))
            (ROOT / "docs" / shot.file).write_bytes(picture)
            print(f"docs/{shot.file}: {len(picture):,} bytes")
            page.close()
        chromium.close()


def small(png: bytes) -> bytes:
    """Return a picture in as many colours as fit under the largest size."""
    for colours in (256, 128, 64, 32):
        out = io.BytesIO()
        # Covering the range of colours keeps the few points of a sign in its own.
        picture = Image.open(io.BytesIO(png)).convert("RGB")
        picture = picture.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        picture.save(out, "PNG", optimize=True)
        if out.tell() < LARGEST:
            break
    return out.getvalue()


if __name__ == "__main__":
    main()
