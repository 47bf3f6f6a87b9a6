"""Pages in other languages: each message is looked up by its template in a gettext catalogue, which Babel reads.

The catalogues lie beside this file, one `auditkit.po` a language; `make messages` updates them from the code. A message
without an entry stays English, is marked as English on a page, and is counted. Names from outside (columns, groups,
files) are arguments of messages, and never looked up.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import IO

from markupsafe import Markup

from auditkit.errors import InputError
from auditkit.evidence.messages import Message, english, parsed, said
from auditkit.plugins import installed
from auditkit.render.text import visible

LANGUAGES = {"en": "en", "zh": "zh-Hans"}
"""The languages that pages are written in: the value of `--lang`, and the tag that the page carries."""


class Translator:
    """Says messages in one language, and keeps the templates that it found no entry for."""

    def __init__(self, lang: str = "en") -> None:
        """Read the catalogue of `lang`.

        Raises:
            InputError: pages are not written in this language.
        """
        self.lang = lang
        self.tag = language_tag(lang)
        self.missing: dict[str, None] = {}
        self._entries = {} if lang == "en" else catalogue(lang)
        self._join: Callable[[Sequence[str]], str] = "".join
        if lang == "zh":
            from auditkit.render.i18n.spacing import join_chinese

            self._join = join_chinese

    def __call__(self, text: str) -> str:
        """Return a text in the language: a Message by its entry, and a plain text as it is."""
        return str(text) if self.lang == "en" else said(text, self._lookup, self._join)

    def phrase(self, text: str) -> str:
        """Return a fixed text of a data file, such as a clause's title, by its entry where there is one."""
        return self._entries.get(text, text)

    def knows(self, text: str) -> bool:
        """Whether a text is a message with an entry, or a fixed text with one."""
        return self.lang == "en" or _key(text) in self._entries or not _has_words(text)

    def marked(self, text: str) -> Markup:
        """Return a text of the report for a page: what has no translation is marked as English, and counted."""
        shown = Markup.escape(visible(self(text) if isinstance(text, Message) else self.phrase(text)))
        if self.knows(text) or not text:
            return shown
        self.missing[_key(text)] = None
        return Markup('<span lang="en">{}</span>').format(shown)

    def _lookup(self, message: Message) -> str:
        entry = self._entries.get(_key(message))
        if entry is not None:
            return entry
        if self.lang != "en" and _has_words(message):
            self.missing[_key(message)] = None
        return english(message)


def language_tag(lang: str) -> str:
    """Return the tag that a page in a language carries.

    Raises:
        InputError: pages are not written in this language.
    """
    if lang not in LANGUAGES:
        raise InputError(f"--lang must be {' or '.join(LANGUAGES)}, got '{lang}'.")
    return LANGUAGES[lang]


def page_name(name: str, lang: str) -> str:
    """Return the name of a page, a PDF or a summary in a language: report.html, report.zh.html.

    >>> page_name("report.html", "zh"), page_name("junit.xml", "zh")
    ('report.zh.html', 'junit.xml')
    """
    return name if lang == "en" else re.sub(r"\.(html|pdf|md)$", rf".{lang}.\1", name)


@cache
def catalogue(lang: str) -> dict[str, str]:
    """Return the entries of a language: the template (of plural texts, the singular one) and its translation."""
    found: dict[str, str] = {}
    for path in _catalogues_of_packages(lang):
        with path.open("rb") as stream:
            found |= _entries(stream)
    with resources.files("auditkit.render.i18n").joinpath(lang, "auditkit.po").open("rb") as stream:
        return found | _entries(stream)


def _entries(stream: IO[bytes]) -> dict[str, str]:
    from babel.messages.pofile import read_po

    found: dict[str, str] = {}
    for entry in read_po(stream):
        key = entry.id if isinstance(entry.id, str) else entry.id[0]
        text = entry.string if isinstance(entry.string, str) else (entry.string or ("",))[0]
        if key and text and not entry.fuzzy:
            found[key] = text
    return found


def _catalogues_of_packages(lang: str) -> Iterator[Path]:
    """Yield the catalogues that other packages bring for their auditors' messages: `PACKAGE/i18n/LANG/PACKAGE.po`."""
    packages = {point.module.partition(".")[0] for point in installed("auditors").values()} - {"auditkit"}
    for package in sorted(packages):
        spec = importlib.util.find_spec(package)  # of a package that is not in another: nothing of it is run
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            path = Path(folder) / "i18n" / lang / f"{package}.po"
            if path.is_file():
                yield path


def _key(text: str) -> str:
    if not isinstance(text, Message):
        return text
    return text.template if text.singular is None else text.singular


def _has_words(text: str) -> bool:
    if not isinstance(text, Message):
        return any(character.isalpha() for character in text)
    return any(character.isalpha() for literal, _, _ in parsed(text.template) for character in literal)
