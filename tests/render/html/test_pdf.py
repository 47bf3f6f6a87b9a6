from __future__ import annotations

import builtins
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gallery import gallery_report

from auditkit.compliance.facts import Facts
from auditkit.errors import InputError
from auditkit.evidence.report import Report, read_report
from auditkit.render import render
from auditkit.render.html.pdf import check_pdf, for_paper, render_pdf, render_summary_pdf
from auditkit.render.html.report import render_html


def shortened(report: Report) -> Report:
    """Return the report of its first auditor, so that its paper is quickly set."""
    return report.model_copy(update={"outcomes": report.outcomes[:1]})


@pytest.fixture
def short(report: Report) -> Report:
    return shortened(report)


@pytest.fixture
def short_again(report: Report, tmp_path: Path) -> Report:
    """The same short report, but of a report that was written and read back."""
    return shortened(read_back(report, tmp_path))


@pytest.fixture
def paper() -> None:
    try:
        check_pdf()
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("paper")
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_pdf_is_tagged_names_its_language_and_is_the_same_each_time(
    short: Report, short_again: Report, lang: str
) -> None:
    name, pdf = next(iter(render(short, ["pdf"], lang=lang).items()))
    assert name == ("report.pdf" if lang == "en" else "report.zh.pdf")
    assert isinstance(pdf, bytes)
    assert pdf.startswith(b"%PDF-")
    plain = whole(pdf)
    for mark in (
        b"/StructTreeRoot",
        b"/MarkInfo",
        b"/Table",
        b"/H1",
        b"/Lang (zh-Hans)" if lang == "zh" else b"/Lang (en)",
    ):
        assert mark in plain, mark
    assert lang == "zh" or render_pdf(short_again) == pdf


def read_back(report: Report, folder: Path) -> Report:
    (folder / "results.json").write_text(report.to_json(), encoding="utf-8")
    return read_report(folder / "results.json")


@pytest.mark.usefixtures("paper")
def test_equal_reports_give_equal_summaries(short: Report, short_again: Report) -> None:
    assert render_summary_pdf(short) == render_summary_pdf(short_again)


@pytest.mark.slow  # each PDF of a report of all auditors takes ten seconds
@pytest.mark.usefixtures("paper")
@pytest.mark.parametrize("paper_of", [render_pdf, render_summary_pdf])
def test_equal_reports_of_all_auditors_give_equal_bytes(
    report: Report, tmp_path: Path, paper_of: Callable[[Report], bytes]
) -> None:
    assert paper_of(report) == paper_of(report) == paper_of(read_back(report, tmp_path))


@pytest.mark.usefixtures("paper")
def test_the_summary_is_one_page_however_long_the_names(report: Report) -> None:
    facts = Facts(answers={"intended_purpose": "Long words. " * 60, "owner": "Owner " * 40})
    assert len(re.findall(rb"/Type /Page\b", whole(render_summary_pdf(report, facts=facts)))) == 1


def whole(pdf: bytes) -> bytes:
    """The PDF with what its compressed streams hold."""
    return b"".join(inflated(stream) for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)) + pdf


def inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def test_each_picture_on_paper_carries_its_styles_and_no_variable(report: Report) -> None:
    page = for_paper(render_html(report))
    body = page.partition("</head>")[2]
    assert "<use" not in body
    assert "var(--" not in body
    pictures = re.findall(r'<svg class="(?:chart|strip|glyph)[^>]*>(.{7})', body)
    assert pictures
    assert set(pictures) == {"<style>"}


def test_what_is_missing_for_a_pdf_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch, short: Report) -> None:
    real = builtins.__import__

    def without(error: Exception) -> Callable[..., Any]:
        def opened(name: str, *rest: Any, **more: Any) -> Any:
            if name == "weasyprint":
                raise error
            return real(name, *rest, **more)

        return opened

    monkeypatch.setattr(builtins, "__import__", without(ImportError("weasyprint")))
    with pytest.raises(InputError, match=r"pip install 'weasyprint>="):
        render_pdf(short)
    monkeypatch.setattr(builtins, "__import__", without(OSError("cannot load library 'libpango'")))
    with pytest.raises(InputError, match="apt-get install libpango"):
        check_pdf()


@pytest.mark.usefixtures("paper")
def test_wide_tables_over_several_pages_come_onto_paper() -> None:
    report = gallery_report("census")
    private = tuple(outcome for outcome in report.outcomes if outcome.auditor == "privacy")
    pdf = whole(render_pdf(report.model_copy(update={"outcomes": private, "findings": ()})))
    assert len(re.findall(rb"/Type /Page\b", pdf)) > 5
