"""The Chinese of the catalogue: its punctuation, its terms, its denials; and the spaces where values are filled in."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from gallery import gallery_report

from auditkit.compliance.assess import assess
from auditkit.compliance.facts import Facts
from auditkit.compliance.framework import load_framework
from auditkit.evidence.comparison import compare
from auditkit.evidence.messages import Message, in_state, number, semicolons
from auditkit.render.html.compare import render_compare
from auditkit.render.html.comply import render_comply
from auditkit.render.html.index import Run, render_index
from auditkit.render.html.report import render_html
from auditkit.render.i18n.spacing import HAN, PUNCTUATION, join_chinese
from auditkit.render.i18n.translation import Translator, catalogue
from auditkit.render.words import AUDITORS
from auditkit.render.words_by_task import OF_LANGUAGE, OF_REGRESSIONS
from auditkit.render.words_by_task import words_of as words

FAULTS = {
    "half-width punctuation at Chinese characters": rf"[{HAN}][,;:?!](?!//)|[,;:?!] ?[{HAN}]",
    "a half-width bracket at Chinese characters": rf"[{HAN}] ?\(",
    "straight quotation marks": rf"['\"][{HAN}]|[{HAN}]['\"]",
    "a space beside Chinese punctuation": rf"[{PUNCTUATION}] |(?<!^) [{PUNCTUATION}]",
    "a space between Chinese characters": rf"[{HAN}] +[{HAN}]",
    "no space between Chinese and Latin": rf"[{HAN}][A-Za-z]|[A-Za-z%][{HAN}]",
    "punctuation twice": r"[、，。；：]{2}",
    "a full-width colon within an identifier": r"(?i)(arxiv|doi)：|sha256：[{0-9a-f]",
    "a space before the percent sign": r"(?<=[\d}]) %",
    "English left over": r"(?<![-\w=])(of|the|and|are|is|with|from|by) [a-z]",
}
"""Patterns that no Chinese text of the catalogue has."""

ONE_TERM = {
    "真正率|真负率|误报率": "真阳性率, 真阴性率, 假阳性率",
    "假正率|假负率": "假阳性率, 假阴性率",
    "均等化几率|均等几率|均等化赔率": "均衡赔率",
    "结论不确定|悬而未决|尚无定论": "无法判定",
    "薄弱环节": "薄弱点",
    "测量": "度量",
    "聚类": "群 (a cluster of a sample)",
    "群组|各组|哪一组": "群体",
    "成员关系": "成员身份",
    "贵方": "贵组织",
    "复制品|近似复制": "副本",
    "会计方法|核算器": "核算方法",
    "未审查": "未检查",
    "条结论|项结论，见": "项审计发现",
    "[段篇]文本": "条文本",
    "Sidak": "Šidák",
    "Clopper-Pearson|Donner-Zou|Bonett-Price|Kolmogorov-Smirnov": "the long dash",
    "费希尔|斯皮尔曼|布里尔|柯尔莫哥洛夫": "the Latin name",
    r"(?<![-{_a-z])[Ee]psilon(?![_a-z}:])": "ε",
    r"(?<![-{_a-z])delta(?! 法)(?![_a-z}:])": "δ",
}
"""What a term was also called, and what it is called."""


def texts_of(page: str) -> list[str]:
    """Return the texts between the tags of a page, without styles, code, and what is marked as English or as a name."""

    class Texts(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[bool] = []
            self.found: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("br", "meta", "img", "use", "link"):
                given = dict(attrs)
                foreign = given.get("lang") == "en" or given.get("translate") == "no"
                self.open.append(foreign or tag in ("style", "code", "pre"))

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            """Leave alone what has no end tag."""

        def handle_endtag(self, tag: str) -> None:
            self.open.pop()

        def handle_data(self, data: str) -> None:
            if not any(self.open):
                self.found.append(data)

    reader = Texts()
    reader.feed(page)
    return reader.found


@pytest.mark.parametrize("fault", FAULTS)
def test_no_text_of_the_catalogue_has_a_fault_of_writing(fault: str) -> None:
    pattern = re.compile(FAULTS[fault])
    dates = {f"{month}月" for month in range(1, 13)}
    found = [text for text in catalogue("zh").values() if pattern.search(text) and text not in dates]
    assert found == []


@pytest.mark.parametrize("other", ONE_TERM)
def test_each_thing_has_one_name(other: str) -> None:
    found = [text for text in catalogue("zh").values() if re.search(other, text)]
    assert found == [], f"write {ONE_TERM[other]}"


def test_every_item_of_what_a_part_does_not_show_begins_with_its_denial() -> None:
    say = Translator("zh")
    every = [*AUDITORS.values(), *OF_REGRESSIONS.values(), *OF_LANGUAGE.values()]
    every += [words(auditor, "generation") for auditor in AUDITORS]
    for item in dict.fromkeys(item for one in every for item in one.does_not_show):
        assert say(item).startswith(("不能", "不涵盖")), say(item)


@pytest.mark.parametrize(
    ("pieces", "joined"),
    [
        (["", "ROC AUC", "的区间"], "ROC AUC 的区间"),
        (["", "准确率", "的区间"], "准确率的区间"),
        (["", "准确率", " 的 ", "区间", "。"], "准确率的区间。"),
        (["差距为", "-0.5", "，限值为", "不超过", "。"], "差距为 -0.5，限值为不超过。"),
        (["", "2026", "年", "11月", "", "22", "日"], "2026年11月22日"),
        (["（", "sex", "）"], "（sex）"),
        (["", "95%", "置信区间"], "95% 置信区间"),
        (["", "", "", "", ""], ""),
        (["没有值"], "没有值"),
    ],
)
def test_spaces_stand_between_chinese_and_latin_alone(pieces: list[str], joined: str) -> None:
    assert join_chinese(pieces) == joined


@pytest.mark.parametrize(
    "name", ["a b", " 男 ", "男 女", "，", "\u202e", "a\tb", "—", "%", "年", "-1", "", "数据 集.csv"]
)
def test_a_name_from_outside_is_kept_as_it_is(name: str) -> None:
    for before, after in (("列 ", " 的值"), ("列", "的值"), ("", "")):
        joined = join_chinese([before, name, after])
        assert name in joined
        assert joined.replace(" ", "") == (before + name + after).replace(" ", "")


def test_counts_percentages_and_lists_are_written_as_chinese_has_them() -> None:
    say = Translator("zh")
    assert say(number(0.0803, "rate")) == "8.0%"
    assert say(in_state(3, Message("not measured"))) == "3 项未度量"
    parts = [Message("{method}, {level:g} %", method=name, level=95) for name in ("Wilson", "Wald")]
    assert say(semicolons(parts)) == "Wilson，95%；Wald，95%"


@pytest.mark.parametrize("name", ["census", "digits", "reviews", "language", "adult-synthetic"])
def test_the_punctuation_between_chinese_texts_of_a_page_is_chinese(name: str) -> None:
    report = gallery_report(name)
    pages = [render_html(report, "zh"), render_index([Run(report, "a/", True)], lang="zh")]
    pages.append(render_compare(compare(report, report), "zh"))
    facts = Facts(source="facts.toml", sha256="0" * 64, answers={})
    pages += render_comply(report, assess(report, load_framework("eu-ai-act"), facts), lang="zh").values()
    page = re.compile(rf"[{HAN}][,;:](\s|$)|^[,;:.] |[{HAN}]  ?[{HAN}]|[、，。；：]{{2}}")
    texts = [text for one in pages if one.startswith("<!DOCTYPE") for text in texts_of(one)]
    assert [text for text in texts if re.search(rf"[{HAN}]", text) and page.search(text)] == []


def test_a_definition_is_marked_as_english_only_where_it_is() -> None:
    page = render_html(gallery_report("census"), "zh")
    marked = re.findall(r'<span lang="en">([^<]*)</span>', page)
    assert "scikit-learn accuracy_score" in marked
    assert [text for text in marked if re.search(f"[{HAN}]", text)] == []
    assert "（由 scikit-learn and auditkit 计算）" in page
