"""The texts that catalogues translate, found in the code, in the templates and in the data files of auditkit.

`python -m auditkit.render.i18n.extract` (`make messages`) updates the catalogue of each language: new texts come in
without a translation, texts that are gone leave. Needs Babel and the heavy half of every auditor.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from importlib.metadata import EntryPoint, distribution
from importlib.resources.abc import Traversable
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from jinja2.ext import extract_from_ast

from auditkit import plugins
from auditkit.compliance.facts import known_facts, words
from auditkit.evidence.messages import IN_STATE, LIST, english, title
from auditkit.render.html.environment import page_environment
from auditkit.render.i18n.translation import LANGUAGES
from auditkit.render.text import DATE

PACKAGE = Path(__file__).parents[2]

Key = str | tuple[str, str]
"""A template; of plural texts, the singular and the plural one."""


def extract() -> list[Key]:
    """Return every template that auditkit can print, sorted: from Python, Jinja, the measurements' ids and TOML."""
    found: dict[Key, None] = {LIST.template: None, IN_STATE: None, DATE: None}
    for path in sorted(PACKAGE.rglob("*.py")):
        found |= dict.fromkeys(in_python(path.read_text(encoding="utf-8")))
    for template in sorted((PACKAGE / "render/html/templates").glob("*.jinja")):
        found |= dict.fromkeys(in_template(template.read_text(encoding="utf-8")))
    found |= dict.fromkeys([*measurement_titles(), *in_data_files()])
    return sorted(found, key=lambda key: key if isinstance(key, str) else key[0])


def in_python(source: str) -> Iterator[Key]:
    """Return the templates of `Message("...")`, `Message.plural("...", "...")` and `counted(n, "noun")`.

    Those that are placeholders and spaces alone are the same in every language, but for those that `extract` names.
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        texts = [part.value if isinstance(part, ast.Constant) else None for part in node.args]
        yield from _of_call(name, texts)


def in_template(source: str) -> Iterator[Key]:
    """Return the templates of `_("...")` and of `counted(n, "noun")` in a Jinja template."""
    tree = page_environment().parse(source)
    for _, name, texts in extract_from_ast(tree, ("_", "counted")):
        values = list(texts) if isinstance(texts, tuple) else [texts]
        yield from _of_call("Message" if name == "_" else name, values)


def _of_call(name: str, texts: Sequence[object]) -> Iterator[Key]:
    strings = [text for text in texts if isinstance(text, str)]
    if name == "Message" and texts and isinstance(texts[0], str):
        if any(character.isalpha() or character in ".,:;()%" for character in _without_fields(texts[0])):
            yield texts[0]
    elif name == "plural" and len(strings) == 2:
        yield strings[0], strings[1]
    elif name == "counted" and strings:
        yield f"{{n:,}} {strings[-1]}", f"{{n:,}} {strings[-1]}s"


def _without_fields(template: str) -> str:
    from auditkit.evidence.messages import parsed

    return "".join(literal for literal, _, _ in parsed(template))


def measurement_titles() -> Iterator[str]:
    """Return the titles of what the auditors that auditkit ships declare to measure, and of the auditors."""
    for name, point in plugins.installed("auditors").items():
        if point.value.startswith("auditkit."):
            yield english(title(f".{name}"))
            yield from (english(title(id)) for id in getattr(point.load(), "measures", ()))


def in_data_files() -> Iterator[str]:
    """Return the rationales of the policies that auditkit ships, its words for clauses, and the keys of facts.toml.

    The names, titles and notes of laws and standards stay in the language in which they were published.
    """
    texts = {"auditkit.evidence.policies": {"rationale"}, "auditkit.compliance": {"topic", "question"}}
    for package, keys in texts.items():
        for file in resources.files(package).iterdir():
            if file.name.endswith(".toml"):
                yield from _strings(file, keys)
    yield from (english(words(key)) for key in known_facts())


def _strings(file: Traversable, keys: set[str]) -> Iterator[str]:
    pending: list[object] = [tomllib.loads(file.read_text(encoding="utf-8"))]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            for key, part in value.items():
                if key in keys and isinstance(part, str) and part:
                    yield part
                else:
                    pending.append(part)
        elif isinstance(value, list):
            pending += value


def read(lang: str) -> Catalog:
    """Return the catalogue of a language as it stands."""
    with (Path(__file__).parent / lang / "auditkit.po").open("rb") as stream:
        return read_po(stream, locale=lang)


def updated(lang: str) -> Catalog:
    """Return the catalogue of a language with an entry for every text, and for no other."""
    before = read(lang)
    # The date of the first extraction: with that of today, writing the same texts again would change the file.
    after = Catalog(locale=lang, header_comment=before.header_comment, fuzzy=False, creation_date=before.creation_date)
    after.mime_headers = [
        (name, value) for name, value in before.mime_headers if name not in ("POT-Creation-Date", "PO-Revision-Date")
    ]
    for key in extract():
        entry = before.get(key if isinstance(key, str) else key[0])
        string = entry.string if entry is not None else ""
        if isinstance(key, tuple) and isinstance(string, str):
            string = (string,)
        elif isinstance(key, str) and not isinstance(string, str):
            string = texts_of(string)[0]
        after.add(key, string)
    return after


def differing(declared: Mapping[str, Mapping[str, str]], installed: Iterable[EntryPoint]) -> list[str]:
    """Return the names of the extensions that are declared and not installed as such, or installed and not declared.

    `declared` are the entry points of pyproject.toml by group; installed ones of other kinds, such as commands, are
    left alone.
    """
    wanted = {(group, name, value) for group, points in declared.items() for name, value in points.items()}
    found = {(one.group, one.name, one.value) for one in installed if one.group.startswith("auditkit.")}
    return sorted({name for _, name, _ in wanted ^ found})


def main() -> None:
    """Write the catalogue of each language again; exit with 2 where an earlier source is installed."""
    declared = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    if names := differing(declared, distribution("auditkit").entry_points):
        sys.stderr.write(
            f"auditkit as installed differs from pyproject.toml in the entry points {', '.join(names)}, whose titles "
            "would be lost; run python -m pip install --no-deps --no-build-isolation --editable .\n"
        )
        raise SystemExit(2)
    for lang in LANGUAGES:
        if lang == "en":
            continue
        catalogue = updated(lang)
        with (Path(__file__).parent / lang / "auditkit.po").open("wb") as stream:
            write_po(stream, catalogue, width=0, omit_header=False, sort_output=True, no_location=True)
        lacking = [entry.id for entry in catalogue if entry.id and not any(texts_of(entry.string))]
        print(f"{lang}: {len(catalogue)} texts, {len(lacking)} without a translation")


def texts_of(string: Sequence[str] | None) -> list[str]:
    """Return the forms of a translation: one, or one for each plural."""
    return [string] if isinstance(string, str) else list(string or ())


if __name__ == "__main__":
    main()
