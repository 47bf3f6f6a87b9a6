"""Pages in Chinese: every message that auditkit can print has an entry, and names stay as they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from gallery import gallery_report

from auditkit.cli.options import Language
from auditkit.compliance.assess import assess
from auditkit.compliance.facts import Facts
from auditkit.compliance.framework import installed, load_framework
from auditkit.errors import InputError
from auditkit.evidence.comparison import compare
from auditkit.evidence.gate import Baseline, judge_report
from auditkit.evidence.messages import Message, parsed
from auditkit.evidence.policy import PROFILES, Limit, Policy, default_policy, read_policy
from auditkit.evidence.report import Report
from auditkit.evidence.waivers import Waiver
from auditkit.render import render
from auditkit.render.exports.markdown import escape
from auditkit.render.html.compare import render_compare
from auditkit.render.html.comply import render_comply
from auditkit.render.html.index import Run, Unreadable, render_index
from auditkit.render.html.report import render_html
from auditkit.render.i18n import extract
from auditkit.render.i18n.translation import LANGUAGES, Translator, catalogue, language_tag
from auditkit.render.next_steps import next_steps
from auditkit.render.summary import attention, headline

RUNS = ("census", "digits", "reviews")
NOTE = "没有译文"


def english_parts(page: str) -> list[str]:
    """The texts of a page that are marked as English, definitions of numbers and texts of laws apart."""
    page = re.sub(r'<(span|dd|li|p)[^>]*lang="en"[^>]*class="method"[^>]*>|class="method" lang="en"', "", page)
    return re.findall(r'<span lang="en">([^<]*)</span>', page)


def test_every_message_of_the_code_has_an_entry_and_every_entry_a_message() -> None:
    """Run `make messages`, and translate what it added."""
    for lang in set(LANGUAGES) - {"en"}:
        now = extract.read(lang)
        wanted = extract.updated(lang)
        keys = {entry.id if isinstance(entry.id, str) else entry.id[0] for entry in now if entry.id}
        assert keys == {entry.id if isinstance(entry.id, str) else entry.id[0] for entry in wanted if entry.id}
        assert [entry.id for entry in now if entry.id and not any(extract.texts_of(entry.string))] == []


def test_an_entry_keeps_its_placeholders_with_their_formats() -> None:
    for key, words in catalogue("zh").items():
        of_key, of_words = ({(field, form) for _, field, form in parsed(text) if field} for text in (key, words))
        assert of_words <= of_key | {("n", form) for _, form in of_words}, key
        assert {field for field, _ in of_words} >= {field for field, _ in of_key} - {"n"}, key


@pytest.mark.parametrize("name", RUNS)
def test_a_report_of_the_gallery_is_chinese_throughout(name: str) -> None:
    page = render_html(gallery_report(name), "zh")
    assert '<html lang="zh-Hans">' in page
    assert NOTE not in page


def test_every_verdict_and_remark_is_said_in_chinese() -> None:
    report = gallery_report("census")
    limits = [
        Limit(measurement=m.id, by=m.by, rationale="事先商定。", groups=groups, **bound)
        for outcome in report.outcomes
        for m in outcome.measurements[::25]
        for groups in ("each", "worst")
        for bound in (
            {"at_most": 0.2, "warn_at": 0.01},
            {"at_least": 0.15, "severity": "warn"},
            {"at_most": 0.2, "inconclusive": "fail", "min_count": 1000},
            {"regression_at_most": 0.01},
            {"at_most": 0.2, "level": 0.99},
        )
        if not ("regression_at_most" in bound and m.better == "neither")
    ]
    policy = Policy(name="many", source="many.toml", sha256="0" * 64, limits=tuple(limits))
    before = Baseline(gallery_report("census"), "before.json", "0" * 64)
    for baseline in (None, before, Baseline(without_rows(before.report), "other.json", "0" * 64)):
        assert NOTE not in render_html(judge_report(report, policy, baseline=baseline, strict=True), "zh")


def without_rows(report: Report) -> Report:
    """The report, as if it were of other rows, and worse."""
    dataset = report.subject.dataset.model_copy(update={"sha256": "1" * 64})
    outcomes = [
        outcome.model_copy(
            update={
                "measurements": tuple(
                    m.model_copy(update={"value": m.value * 0.9}) if m.value is not None else m
                    for m in outcome.measurements
                )
            }
        )
        for outcome in report.outcomes
    ]
    return report.model_copy(
        update={"subject": report.subject.model_copy(update={"dataset": dataset}), "outcomes": tuple(outcomes)}
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_the_policies_that_are_shipped_are_said_in_chinese(profile: str) -> None:
    policy = default_policy() if profile == "default" else read_policy(profile)
    page = render_html(judge_report(gallery_report("census"), policy), "zh")
    assert NOTE not in page
    assert not any(escape(limit.rationale) in page for limit in policy.limits)


def test_an_audit_that_crashed_and_one_that_judged_nothing_are_said_in_chinese() -> None:
    report = gallery_report("census")
    crashed = report.outcomes[1].model_copy(update={"error": "x", "measurements": (), "exhibits": ()})
    for outcomes in ((crashed, report.outcomes[0]), ()):
        judged = judge_report(report.model_copy(update={"outcomes": outcomes}), default_policy())
        assert NOTE not in render_html(judged, "zh")
    empty = default_policy().model_copy(update={"limits": ()})
    assert NOTE not in render_html(judge_report(report, empty), "zh")


@pytest.mark.parametrize("framework", installed())
def test_compliance_tables_are_chinese_but_for_the_texts_of_the_clauses(framework: str) -> None:
    report = gallery_report("census")
    facts = Facts(source="facts.toml", sha256="0" * 64, answers={"owner": "Team"})
    page = render_comply(report, assess(report, load_framework(framework), facts), lang="zh")
    assert NOTE not in page[f"comply-{framework}.zh.html"]


def test_comparison_and_history_are_chinese() -> None:
    one, two = gallery_report("census"), without_rows(gallery_report("census"))
    assert NOTE not in render_compare(compare(one, two), "zh")
    runs = [Run(one, "a/", True), Run(gallery_report("digits"), "b/", False)]
    page = render_index(runs, [Unreadable("d", "torn")], "zh")
    assert NOTE not in page
    assert "：torn" in page


def test_a_list_under_does_not_show_reads_as_a_denial() -> None:
    from auditkit.render.words import AUDITORS
    from auditkit.render.words_by_task import OF_LANGUAGE, OF_REGRESSIONS

    say = Translator("zh")
    denials = ("不能", "不说明", "不表示", "无法", "未", "不")
    for words in (*AUDITORS.values(), *OF_REGRESSIONS.values(), *OF_LANGUAGE.values()):
        for item in words.does_not_show:
            assert any(denial in say(item) for denial in denials), say(item)


def test_numbers_names_and_order_follow_the_language() -> None:
    say = Translator("zh")
    assert say(Message("{day} {month} {year}", day=22, month=Message("November"), year=2026)) == "2026年11月22日"
    rows = Message.plural("{n:,} row", "{n:,} rows", 1)
    assert say(rows) == "1 行"
    assert say("occupation") == "occupation"
    assert (
        say(Message("{title} by {columns}", title=Message("Accuracy"), columns="Accuracy")) == "准确率（按 Accuracy）"
    )


def test_what_has_no_entry_stays_english_is_marked_and_counted(build_report: Callable[..., Report]) -> None:
    report = build_report()
    outcome = report.outcomes[0].model_copy(update={"notes": ("A plug-in's <own> words.", Message("Made up {x}", x=1))})
    page = render_html(report.model_copy(update={"outcomes": (outcome,)}), "zh")
    assert '<span lang="en">A plug-in&#39;s &lt;own&gt; words.</span>' in page
    assert '<span lang="en">Made up 1</span>' in page
    assert NOTE in page
    assert NOTE not in render_html(report, "en")
    assert 'lang="en">' not in re.sub(
        r"<html[^>]*>|<span[^>]*lang=\"en\"[^>]*>", "", render_html(gallery_report("census"), "zh")
    )


def test_hostile_names_stay_harmless_text(report: Report) -> None:
    page = render_html(report, "zh")
    assert "<script" not in page
    assert page.count("</style>") == 1
    assert "\u202e" not in page


def test_the_languages_of_the_command_line_are_those_of_the_catalogues() -> None:
    assert {language.value for language in Language} == set(LANGUAGES)
    with pytest.raises(InputError, match="--lang must be en or zh"):
        language_tag("xx")


def test_a_page_in_chinese_has_a_name_of_its_own() -> None:
    files = render(gallery_report("digits"), ["html", "junit"], lang="zh")
    assert list(files) == ["report.zh.html", "junit.xml"]


def test_what_people_wrote_of_waivers_and_of_limits_of_their_own_is_kept_within_the_chinese() -> None:
    report = gallery_report("census")
    limit = Limit(measurement="fairness.demographic_parity_difference", by="*", at_most=0.1, rationale="Our own. Yes?")
    words: dict[str, Any] = {"owner": "A. Ruiz", "approver": "Board", "statement": "Known; e.g. base rates."}
    today = report.created.date()
    waivers = tuple(
        Waiver(id=f"W-{by}", measurement=limit.measurement, by=(by,), expires=today + timedelta(days), **words)
        for days, by in ((5, "sex"), (-3, "race"))
    )
    policy = Policy(name="own", source="own.toml", sha256="0" * 64, limits=(limit,))
    page = render_html(judge_report(report, policy, waivers=waivers, today=today), "zh")
    assert NOTE not in page
    assert f"豁免至 {today + timedelta(5)}：Known; e.g. base rates" in page
    assert f"A. Ruiz 的豁免 W-race 已于 {today - timedelta(3)} 到期：不通过。" in page


@pytest.mark.parametrize("name", RUNS)
def test_the_summary_is_chinese_throughout(name: str) -> None:
    report = gallery_report(name)
    ((file, text),) = render(report, ["markdown"], lang="zh").items()
    assert file == "summary.zh.md"
    assert isinstance(text, str)
    say = Translator("zh")
    for english in (headline(report)[1], *(f.message for f in attention(report)), *(s.how for s in next_steps(report))):
        assert escape(say(english))[:900] in text
        assert say(english) != english
    assert say.missing == {}
    assert not re.search("What to do|Finding|Auditor|Not examined|Warning", text)


def test_the_model_card_keeps_its_name_where_its_language_is_always_english() -> None:
    assert list(render(gallery_report("census"), ["model-card", "junit"], lang="zh")) == ["model-card.md", "junit.xml"]
