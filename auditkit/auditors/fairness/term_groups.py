"""Terms that name a group of people, and texts rewritten from one group to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, model_validator

from auditkit.documents import parse_toml
from auditkit.evidence.measurement import Record
from auditkit.evidence.toml_tables import named_records, read_named_tables
from auditkit.schema.text import cased_words

SLOT = "{}"


class Filled(NamedTuple):
    """A template as tokens; those of one `cluster` hold the same term, or are a template by itself."""

    template: str
    cluster: int
    tokens: list[str]


class TermGroups(Record):
    """The terms of each group of one attribute, such as gender, and templates to put them in.

    All groups have as many terms; those in the same place stand for each other. A term with a capital letter stands in
    a text only with one ("Frank" is not "frank"). In a template `{}` stands for each term in turn; a template without
    it holds a term of some group itself. `source` says where the terms are from.
    """

    source: str
    groups: Annotated[dict[str, tuple[str, ...]], Field(min_length=2)]
    templates: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _aligned(self) -> TermGroups:
        if len({len(terms) for terms in self.groups.values()}) > 1:
            counts = ", ".join(f"{name} {len(terms)}" for name, terms in self.groups.items())
            raise ValueError(f"the groups must have as many terms each, in the same order, got {counts}")
        for term in (term for terms in self.groups.values() for term in terms):
            if len(cased_words(term)) != 1:
                raise ValueError(f"a term is a single word, got {term!r}")
        for template in self.templates:
            if SLOT not in template and not self.places(cased_words(template)):
                raise ValueError(f"the template {template!r} holds neither {SLOT} nor a term")
        return self

    def places(self, tokens: Sequence[str]) -> list[tuple[int, int]]:
        """Return where the terms stand among tokens: (which token, which place in the lists of terms).

        A term that is listed twice has its first place.
        """
        listed: dict[str, int] = {}
        for terms in self.groups.values():
            for place, term in enumerate(terms):
                listed.setdefault(term, place)
        found = [(at, listed.get(token, listed.get(token.lower()))) for at, token in enumerate(tokens)]
        return [(at, place) for at, place in found if place is not None]

    def versions(self, tokens: Sequence[str]) -> list[list[str]]:
        """Return the tokens rewritten for each group, in the order of the groups.

        >>> pairs = TermGroups(source="", groups={"f": ("she", "her"), "m": ("he", "his")})
        >>> pairs.versions(["she", "lost", "her", "hat"])
        [['she', 'lost', 'her', 'hat'], ['he', 'lost', 'his', 'hat']]
        """
        found = self.places(tokens)
        rewritten = []
        for terms in self.groups.values():
            text = list(tokens)
            for at, place in found:
                text[at] = terms[place]
            rewritten.append(text)
        return rewritten

    def filled(self) -> list[Filled]:
        """Return the templates with the first group's terms, or as they are; `versions` makes the other groups'."""
        first = next(iter(self.groups.values()))
        found = []
        for place, template in enumerate(self.templates):
            if SLOT in template:
                found += [
                    Filled(template, at, cased_words(template.replace(SLOT, term))) for at, term in enumerate(first)
                ]
            else:
                found.append(Filled(template, len(first) + place, cased_words(template)))
        return found


def shipped_term_groups() -> dict[str, Any]:
    """Return the term groups that auditkit ships, by attribute, as its TOML file holds them."""
    text = files("auditkit.auditors.fairness").joinpath("term_groups.toml").read_text(encoding="utf-8")
    return parse_toml(text)


def read_term_groups(path: str | Path) -> dict[str, Any]:
    """Read term groups of the user's own, by attribute: TOML in the form of the file that auditkit ships.

    Raises:
        InputError: the file is missing, is not TOML, or holds something else.
    """
    return read_named_tables(path, TermGroups, "identity terms")


def check_term_groups(document: Mapping[str, Any]) -> dict[str, TermGroups]:
    """Return checked term groups by attribute.

    Raises:
        InputError: an attribute lacks groups or a source, or its groups do not match.
    """
    return named_records(document, TermGroups, "identity terms")
