"""A finished page in another language: every text of it is looked up in a catalogue of templates.

The pages are written in English, and so are the sentences that auditors store in results.json. A catalogue entry is
such a sentence with placeholders: `"{n} row(s) had no label" = "{n} 行没有标签"`. A text of the page that no entry
matches stays English, is marked so, and is counted. Names from outside (columns, groups, files) are never translated.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from functools import cache
from html import escape
from html.parser import HTMLParser
from importlib import resources
from typing import Any, NamedTuple

from auditkit.errors import InputError
from auditkit.evidence.measurement import Measurement, shown
from auditkit.evidence.messages import title
from auditkit.evidence.report import Outcome, Report
from auditkit.render.text import visible
from auditkit.render.words import AUDITORS

LANGUAGES = {"en": "en", "zh": "zh-Hans"}
"""The languages that pages are written in: the value of `--lang`, and the tag that the page carries."""

QUOTED = {"template", "text", "profile", "moved most by", "words", "layer"}
"""The columns of tables that quote the data or the model."""

PARTS_TRIED = 8
"""A list is cut at its last joint, or at one of so many before it: entries may hold joints themselves."""

VOID = {"area", "br", "col", "hr", "img", "input", "link", "meta", "wbr"}
VERBATIM = {"code", "pre", "style"}
SPOKEN = ("alt", "aria-label", "title")  # the attributes that a reader hears or sees

_NUMBER = r"[-\u2212+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?"
_NUMBERS = re.compile(_NUMBER)
_KEPT = re.compile(r"n\d*|name\d*|group\d*")  # the placeholders of numbers and of names
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_HAS_WORDS = re.compile(r"[A-Za-z]")
_FOREIGN = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af]")  # a text that people wrote in another script is not English
_WIDE = re.compile(r"[\u2e80-\u9fff\uff00-\uffef]")
# A phrase between punctuation: what leads it alone, else on both sides.
_AROUND = (
    re.compile(r"([\s,.;:·]+)(.+)()", re.DOTALL),
    re.compile(r"([\s,.;:()·]*)(.+?)([\s,.;:()·]*)", re.DOTALL),
)
_SENTENCES = (re.compile(r"(?<=[.?!]) (?=[A-Z0-9])"), re.compile(r"(?<=[.?!:]) (?=[A-Z0-9])"))
_PARTS = re.compile(r"(, | & |; |: | = | \+ | · | and | \()")


class Template(NamedTuple):
    """A catalogue entry with placeholders: what it matches, a piece that must occur, and what it becomes."""

    pattern: re.Pattern[str]
    piece: str
    letter_count: int
    words: str


class Catalogue:
    """The entries of one language.

    A placeholder `{n...}` stands for a number, `{name...}` for any name and `{group...}` for a known one, and they are
    kept; any other is looked up in turn. `(s)` may be there or not, `[is|are]` is either.
    """

    def __init__(self, entries: dict[str, str], punctuation: dict[str, str]) -> None:
        self.punctuation = punctuation
        self.exact: dict[str, str] = {}
        self.templates: list[Template] = []
        for key, words in entries.items():
            if _PLACEHOLDER.search(key) or "(s)" in key or re.search(r"\[[^\]]*\|", key):
                self.templates.append(_template(key, words))
            else:
                self.exact[key] = words
        self.templates.sort(key=lambda template: -template.letter_count)


class Translator:
    """Translates texts by a catalogue; `names` are those from outside, kept as they are."""

    def __init__(self, catalogue: Catalogue, names: frozenset[str]) -> None:
        self.catalogue = catalogue
        self.names = names
        self.known: dict[str, str | None] = {}

    def say(self, text: str) -> str | None:
        """Return `text` in the language; None where the catalogue lacks it."""
        if text not in self.known:
            self.known[text] = None  # an entry that leads back to itself ends here
            self.known[text] = self._say(text)
        return self.known[text]

    def _say(self, text: str) -> str | None:
        exact = self.catalogue.exact
        for variant in (text, text[:1].upper() + text[1:], text[:1].lower() + text[1:]):
            if variant in exact:
                return exact[variant]
        for template in self.catalogue.templates:
            if template.piece in text and (match := template.pattern.fullmatch(text)):
                filled = self._fill(template.words, match.groupdict())
                if filled is not None:
                    return filled
        if not any(character.isalnum() for character in text):
            return self._marks(text)
        known = {text, text[:1].lower() + text[1:]} & self.names or _FOREIGN.search(text)
        if known:
            return text
        if not _HAS_WORDS.search(_NUMBERS.sub("", text)):
            return self._parts(text) or text
        for ends in _SENTENCES:
            if (said := self._join(ends.split(text))) is not None:
                return said
        return self._parts(text)

    def _fill(self, words: str, values: dict[str, str]) -> str | None:
        if any(key.startswith("group") and not self._is_name(value) for key, value in values.items()):
            return None
        said = {key: value if _KEPT.fullmatch(key) else self.say(value) for key, value in values.items()}
        if None in said.values():
            return None
        return _PLACEHOLDER.sub(lambda match: said[match[1]] or "", words)

    def _is_name(self, text: str) -> bool:
        return text.endswith("…") or text in self.names

    def _join(self, sentences: list[str]) -> str | None:
        """Translate sentences in as long groups as the catalogue has entries for."""
        for end in range(len(sentences) - 1, 0, -1):
            if (first := self.say(" ".join(sentences[:end]))) is not None:
                rest = self.say(" ".join(sentences[end:]))
                return None if rest is None else first + rest
        return None

    def _parts(self, text: str) -> str | None:
        """Translate a list, or a phrase between punctuation, part by part; all must be known."""
        for around in _AROUND:
            if (match := around.fullmatch(text)) and match[2] != text and (said := self.say(match[2])) is not None:
                return self._marks(match[1]) + said + self._marks(match[3])
        for joint in list(_PARTS.finditer(text))[: -PARTS_TRIED - 1 : -1]:
            if (last := self.say(text[joint.end() :])) is not None:
                first = self.say(text[: joint.start()])
                if first is not None:
                    return first + self._marks(joint[0]) + last
        return None

    def _marks(self, marks: str) -> str:
        for mark, own in self.catalogue.punctuation.items():
            marks = marks.replace(mark, own)
        return marks


def _template(key: str, words: str) -> Template:
    pattern, literals = "", [""]
    for part in re.split(r"(\{\w+\}|\(s\)|\[[^\]]*\|[^\]]*\])", key):
        if part.startswith("{"):
            name = part[1:-1]
            pattern += f"(?P<{name}>{_NUMBER if re.fullmatch(r'n[0-9]*', name) else '.+?'})"
        elif part == "(s)":
            pattern += "s?"
        elif part.startswith("[") and "|" in part:
            pattern += f"(?:{'|'.join(map(re.escape, part[1:-1].split('|')))})"
        else:
            pattern += re.escape(part)
            literals.append(part)
    return Template(re.compile(pattern, re.DOTALL), max(literals, key=len), sum(map(len, literals)), words)


@cache
def catalogue(lang: str) -> Catalogue:
    """Return the catalogue of a language.

    Raises:
        InputError: pages are not written in this language.
    """
    if lang not in LANGUAGES or lang == "en":
        raise InputError(f"--lang must be {' or '.join(LANGUAGES)}, got '{lang}'.")
    entries: dict[str, str] = {}
    punctuation: dict[str, str] = {}
    for file in sorted(resources.files("auditkit.render.i18n").joinpath(lang).iterdir(), key=lambda f: f.name):
        for section, texts in tomllib.loads(file.read_text(encoding="utf-8")).items():
            (punctuation if section == "punctuation" else entries).update(texts)
    return Catalogue(entries, punctuation)


def names_of(*reports: Report) -> frozenset[str]:
    """Return the names in reports that come from outside: columns, categories, groups, files, models."""
    found: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, str):
            found.add(" ".join(visible(value).split()))
        elif isinstance(value, dict):
            for part in value.values():
                collect(part)
        elif isinstance(value, list | tuple):
            for part in value:
                collect(part)

    for report in reports:
        subject = report.subject
        collect(subject.schema_)
        collect([subject.sensitive, report.run_id, report.policy.name, report.policy.source])
        collect([[limit.rationale, limit.clause, limit.by] for limit in report.policy.limits])
        collect([[outcome.error, *_foreign_words(outcome)] for outcome in report.outcomes])
        for record in (subject.model, subject.dataset, subject.training_dataset):
            collect([record.path if record else None, getattr(record, "name", None)])
        for outcome in report.outcomes:
            for table in (exhibit for exhibit in outcome.exhibits if exhibit.kind == "table"):
                quoted = [place for place, column in enumerate(table.columns) if column.name in QUOTED]
                collect([[row[place] for place in quoted] for row in table.rows])
            for measurement in outcome.measurements:
                collect([measurement.by, _shown_names(measurement)])
    return frozenset(found - {""})


def _shown_names(measurement: Measurement) -> list[str]:
    """The breakdown and the groups of a measurement as a page shows them."""
    groups = [*(measurement.compared or ()), *(part.group for part in measurement.slices)]
    by = [shown(measurement.by)] if measurement.by else []
    return [*by, *(name for group in groups for name in (group.text, *group.key))]


def _foreign_words(outcome: Outcome) -> list[str]:
    """The names of an auditor that auditkit does not ship, and of what it measures."""
    if outcome.auditor in AUDITORS:
        return []
    ids = [*(m.id for m in outcome.measurements), *(finding.measurement for finding in outcome.findings)]
    return [outcome.auditor, *map(title, ids)]


def speaker(lang: str, names: frozenset[str] = frozenset()) -> Callable[[str], str]:
    """Return a function that says a text in the language; what the catalogue lacks stays English."""
    if lang == "en":
        return lambda text: text
    say = Translator(catalogue(lang), names).say
    return lambda text: say(" ".join(text.split())) or text


def page_name(name: str, lang: str) -> str:
    """Return the name of a page, a PDF or a summary in a language: report.html, report.zh.html.

    >>> page_name("report.html", "zh"), page_name("junit.xml", "zh")
    ('report.zh.html', 'junit.xml')
    """
    return name if lang == "en" else re.sub(r"\.(html|pdf|md)$", rf".{lang}.\1", name)


def translated(page: str, lang: str, names: frozenset[str] = frozenset()) -> str:
    """Return an HTML page of auditkit's in the language; what the catalogue lacks stays English, marked and counted."""
    if lang == "en":
        return page
    return _translate(page, lang, names).text


def untranslated(page: str, lang: str, names: frozenset[str] = frozenset()) -> list[str]:
    """Return the texts of a page that the catalogue of the language lacks, in their order."""
    return list(_translate(page, lang, names).missing)


def _translate(page: str, lang: str, names: frozenset[str]) -> _Page:
    out = _Page(Translator(catalogue(lang), names).say, LANGUAGES[lang])
    out.feed(page)
    out.close()
    return out


class _Page(HTMLParser):
    """Copies a page, saying each text of it in another language."""

    def __init__(self, say: Callable[[str], str | None], tag: str) -> None:
        super().__init__()
        self.say, self.tag = say, tag
        self.out: list[str] = []
        self.kept: list[bool] = []  # for each open element, whether its texts are kept
        self.missing: dict[str, None] = {}

    @property
    def text(self) -> str:
        page = "".join(self.out)
        count = len(self.missing)
        note = self.say(f"{count} texts of this page have no translation and stay in English.") if count else ""
        return page.replace("<!--untranslated-->", f'<p class="aside">{note}</p>' if note else "")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        own = given.get("translate") == "no" or given.get("class") == "name" or (tag != "html" and "lang" in given)
        keep = own or tag in VERBATIM or bool(self.kept and self.kept[-1])
        self._start(tag, given, keep)
        if tag not in VOID:
            self.kept.append(keep)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._start(tag, dict(attrs), bool(self.kept and self.kept[-1]))

    def handle_endtag(self, tag: str) -> None:
        self.kept.pop()
        self.out.append(f"</{tag}>")

    def handle_decl(self, decl: str) -> None:
        self.out.append(f"<!{decl}>")

    def handle_comment(self, data: str) -> None:
        self.out.append(f"<!--{data}-->")

    def handle_data(self, data: str) -> None:
        if self.kept and self.kept[-1]:
            self.out.append(data if self.lasttag == "style" else escape(data, quote=False))
            return
        core = " ".join(data.split())
        said = self.say(core) if core else core
        if said is None:
            self._keep_english(core, data)
        else:
            # Chinese is written without spaces, beside what is not Chinese they stay.
            lead = "" if _WIDE.match(said[:1]) else data[: len(data) - len(data.lstrip())]
            tail = "" if _WIDE.match(said[-1:]) else data[len(data.rstrip()) :]
            said = said.replace("n = ", "n\xa0=\xa0")
            self.out.append(escape(f"{lead}{said}{tail}" if core else data, quote=False))

    def _start(self, tag: str, attrs: dict[str, str | None], keep: bool) -> None:
        text = self.get_starttag_text() or ""
        if tag == "html":
            text = text.replace('lang="en"', f'lang="{self.tag}"')
        for name in SPOKEN:
            value = attrs.get(name)
            if not value or keep:
                continue
            core = " ".join(value.split())
            said = self.say(core)
            if said is None:
                self.missing[core] = None
            else:
                before, _, after = text.partition(f'{name}="')
                text = f'{before}{name}="{escape(said)}"' + after.partition('"')[2]
        self.out.append(text)

    def _keep_english(self, core: str, data: str) -> None:
        self.missing[core] = None
        last = self.out[-1] if self.out else ""
        if _FOREIGN.search(core):
            self.out.append(escape(data, quote=False))
        elif re.match(r"<\w", last) and not last.endswith("/>") and last[1:].split()[0].strip(">") not in VOID:
            # The text begins its element: the element itself can say that it is English (in SVG it has to).
            self.out[-1] = f'{last[:-1]} lang="en">'
            self.out.append(escape(data, quote=False))
        else:
            self.out.append(f'<span lang="en">{escape(data, quote=False)}</span>')
