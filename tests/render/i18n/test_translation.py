"""Pages in Chinese: everything that auditkit itself writes has an entry, and names stay as they are."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path

import pytest
from keys import group

from auditkit.cli.options import Language
from auditkit.compliance.assess import assess
from auditkit.compliance.facts import Facts
from auditkit.compliance.framework import installed, load_framework
from auditkit.errors import InputError
from auditkit.evidence.comparison import compare
from auditkit.evidence.gate import Baseline, judge_report
from auditkit.evidence.policy import Limit, Policy, default_policy, read_policy
from auditkit.evidence.report import Report, read_report
from auditkit.evidence.waivers import Waiver
from auditkit.render import render
from auditkit.render.exports.markdown import escape
from auditkit.render.html.compare import render_compare
from auditkit.render.html.comply import render_comply
from auditkit.render.html.index import Run, Unreadable, render_index
from auditkit.render.html.report import render_html
from auditkit.render.i18n.translation import (
    LANGUAGES,
    Translator,
    catalogue,
    names_of,
    speaker,
    translated,
    untranslated,
)
from auditkit.render.next_steps import next_steps
from auditkit.render.summary import attention, headline

GALLERY = Path(__file__).parents[3] / "reports"
RUNS = ("census", "digits", "reviews")
MESSAGES = resources.files("auditkit.render.i18n")


def run(name: str) -> Report:
    return read_report(GALLERY / name / "results.json")


def lacking(page: str, *reports: Report) -> str:
    """What a catalogue lacks for a page, ready to be pasted into it."""
    texts = untranslated(page, "zh", names_of(*reports))
    keys = dict.fromkeys(re.sub(r"(?<![\w.])\d+(?:[.,]\d+)*", "{n}", text) for text in texts)
    return "\n".join(f'"{key}" = ""' for key in keys)


def say(text: str, *names: str) -> str | None:
    return Translator(catalogue("zh"), frozenset(names)).say(text)


@pytest.mark.parametrize("name", RUNS)
def test_a_report_of_the_gallery_is_chinese_throughout(name: str) -> None:
    report = run(name)
    assert lacking(render_html(report), report) == ""
    page = render_html(report, "zh")
    assert '<html lang="zh-Hans">' in page
    assert 'lang="en">' not in re.sub(r'<span (?:class="method" )?lang="en">[^<]*</span>', "", page)  # sources alone
    assert "没有译文" not in page


def test_every_verdict_and_remark_is_said_in_chinese() -> None:
    report = run("census")
    limits = [
        Limit(measurement=m.id, by=m.by, rationale="事先商定。", groups=groups, **bound)  # type: ignore[arg-type]
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
    before = Baseline(run("census"), "before.json", "0" * 64)
    for baseline in (None, before, Baseline(without_rows(before.report), "other.json", "0" * 64)):
        judged = judge_report(report, policy, baseline=baseline, strict=True)
        assert lacking(render_html(judged), judged) == ""


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


@pytest.mark.parametrize("profile", ["default", "eu-high-risk", "four-fifths", "ll144", "dp-release", "generation"])
def test_the_policies_that_are_shipped_are_said_in_chinese(profile: str) -> None:
    policy = default_policy() if profile == "default" else read_policy(profile)
    judged = judge_report(run("census"), policy)
    assert lacking(render_html(judged), judged) == ""


def test_an_audit_that_crashed_and_one_that_judged_nothing_are_said_in_chinese(
    build_report: Callable[..., Report],
) -> None:
    report = run("census")
    crashed = report.outcomes[1].model_copy(update={"error": "错误：x", "measurements": (), "exhibits": ()})
    for outcomes in ((crashed, report.outcomes[0]), ()):
        judged = judge_report(report.model_copy(update={"outcomes": outcomes}), default_policy())
        assert lacking(render_html(judged), judged) == ""
    empty = default_policy().model_copy(update={"limits": ()})
    judged = judge_report(report, empty)
    assert lacking(render_html(judged), judged) == ""


@pytest.mark.parametrize("framework", installed())
def test_compliance_tables_are_chinese_but_for_the_texts_of_the_clauses(framework: str) -> None:
    report = run("census")
    facts = Facts(source="facts.toml", sha256="0" * 64, answers={"owner": "Team"})
    page = render_comply(report, assess(report, load_framework(framework), facts))[f"comply-{framework}.html"]
    assert lacking(page, report) == ""


def test_comparison_and_history_are_chinese() -> None:
    one, two = run("census"), without_rows(run("census"))
    assert lacking(render_compare(compare(one, two)), one) == ""
    runs = [Run(one, "a/", True), Run(run("digits"), "b/", False)]
    assert lacking(render_index(runs, [Unreadable("d", "torn")]), one, run("digits")) == '": torn" = ""'


def test_numbers_names_and_order_follow_the_language() -> None:
    text = (
        "Female (sex) is selected 19.9 points less often than Male "
        "(95 % CI 18.8 to 21.0, n = 16,281; limit at most 10.0 points): fail."
    )
    said = (
        "Female（sex）的入选率比 Male 低 19.9 个百分点"
        "（95% 置信区间 18.8 至 21.0，n = 16,281；限值：不超过 10.0 个百分点）：不通过。"
    )
    assert say(text, "Female", "Male") == said
    counted = text.replace("(sex)", "(sex, n = 5,421)").replace("Male (", "Male (n = 10,860) (")
    assert say(counted, "Female", "Male") == said.replace("（sex）", "（sex，n = 5,421）").replace(
        "Male ", "Male（n = 10,860）"
    )
    assert say("22 November 2026") == "2026年11月22日"
    assert say("occupation", "occupation") == "occupation"
    assert say("a plugin's own words") is None


def test_what_has_no_entry_stays_english_is_marked_and_counted() -> None:
    page = (
        '<html lang="en"><p>Nobody knows</p><p><b>Pass</b> or so</p>'
        '<th translate="no">Pass</th><!--untranslated--></html>'
    )
    said = translated(page, "zh")
    assert '<p lang="en">Nobody knows</p>' in said
    assert '<b>通过</b><span lang="en"> or so</span>' in said
    assert '<th translate="no">Pass</th>' in said
    assert "本页有 2 处文字没有译文" in said
    assert untranslated(page, "zh") == ["Nobody knows", "or so"]


def test_hostile_names_stay_harmless_text(report: Report, hostile: dict[str, str]) -> None:
    page = render_html(report, "zh")
    assert "<script" not in page
    assert page.count("</style>") == 1
    assert "\u202e" not in page


def test_an_entry_stands_once_and_keeps_its_placeholders() -> None:
    every: list[tuple[str, str]] = []
    for file in MESSAGES.joinpath("zh").iterdir():
        for section, entries in tomllib.loads(file.read_text(encoding="utf-8")).items():
            every += entries.items() if section != "punctuation" else []
    assert [key for key, count in Counter(key for key, _ in every).items() if count > 1] == []
    for key, words in every:
        assert sorted(set(re.findall(r"\{\w+\}", words))) == sorted(set(re.findall(r"\{\w+\}", key))), key
        assert words, key


def test_the_languages_of_the_command_line_are_those_of_the_catalogues() -> None:
    assert {language.value for language in Language} == set(LANGUAGES)
    with pytest.raises(InputError, match="--lang must be en or zh"):
        catalogue("xx")


def test_a_page_in_chinese_has_a_name_of_its_own() -> None:
    files = render(run("digits"), ["html", "junit"], lang="zh")
    assert list(files) == ["report.zh.html", "junit.xml"]


def test_a_number_by_a_column_is_not_mistaken_for_the_name_of_a_column() -> None:
    assert say("Accuracy by sex & race is 4.8 %", "sex & race") == "准确率（按 sex & race）为 4.8%"
    assert say("Accuracy by income is 4.8 %", "sex", "race") is None


def test_what_people_wrote_of_waivers_and_of_limits_of_their_own_is_kept_within_the_chinese() -> None:
    report = run("census")
    limit = Limit(measurement="fairness.demographic_parity_difference", by="*", at_most=0.1, rationale="Our own. Yes?")
    words = {"owner": "A. Ruiz", "approver": "Board", "statement": "Known; e.g. base rates."}
    waivers = tuple(
        Waiver(id=f"W-{day}", measurement=limit.measurement, by=(by,), expires=date(2026, 1, day), **words)
        for day, by in ((10, "sex"), (2, "race"))
    )
    policy = Policy(name="own", source="own.toml", sha256="0" * 64, limits=(limit,))
    report = report.model_copy(update={"created": datetime(2026, 1, 4, tzinfo=UTC)})
    judged = judge_report(report, policy, waivers=waivers, today=date(2026, 1, 5))
    assert lacking(render_html(judged), judged) == ""
    page = render_html(judged, "zh")
    assert "豁免至 2026-01-10：Known; e.g. base rates" in page
    assert "A. Ruiz 的豁免 W-2 已于 2026-01-02 到期：不通过。" in page


@pytest.mark.parametrize("name", RUNS)
def test_the_summary_is_chinese_throughout(name: str) -> None:
    report = run(name)
    ((file, text),) = render(report, ["markdown"], lang="zh").items()
    assert file == "summary.zh.md"
    assert isinstance(text, str)
    said = speaker("zh", names_of(report))
    for english in (headline(report)[1], *(f.message for f in attention(report)), *(s.how for s in next_steps(report))):
        assert escape(said(english)) in text
        assert said(english) != english
    assert not re.search("What to do|Finding|Auditor|Not examined|Warning", text)


def test_the_model_card_keeps_its_name_where_its_language_is_always_english() -> None:
    assert list(render(run("census"), ["model-card", "junit"], lang="zh")) == ["model-card.md", "junit.xml"]


@pytest.mark.parametrize(
    "text",
    [
        "Only rows with age >= 20 are audited: 1,425 of 1,500; 75 were left out.",
        "Training data: 20 of 1,425 rows have no label in column repaid and were left out.",
        "The outputs were recognised as logits: over 512 rows spread over the data they do not all lie from 0 to 1. "
        "Declare them with --output.",
        "Not run: there is no model, only a record of its decisions; pass a model file.",
        "Epsilon was not measured: the model gives scores that are no probabilities: there is no loss to train it by",
        "Accuracy by race was not judged: fewer than two groups have at least 10 rows and can be shown.",
        "Unknown category: 3 rows, outside the ratios. Not shown: 2 categories (12 rows).",
        "5 of 8 shadow models were trained, in 120 seconds: more would have exceeded the budget. More shadows make the "
        "attacks stronger.",
    ],
)
def test_what_rarely_happens_is_said_in_chinese_too(text: str) -> None:
    said = say(text, "race")
    assert said is not None
    assert not re.search("[a-z]{3,} [a-z]{3,}", said)


def test_a_name_that_hides_its_letters_is_known_as_it_is_shown() -> None:
    report = run("census")
    (outcome,) = (one for one in report.outcomes if one.auditor == "performance")
    m = next(one for one in outcome.measurements if one.slices)
    part = m.slices[0].model_copy(update={"group": group("a\u202eb (c)")})
    changed = outcome.model_copy(update={"measurements": (m.model_copy(update={"slices": (part,)}),)})
    assert "a\ufffdb (c)" in names_of(report.model_copy(update={"outcomes": (changed,)}))
