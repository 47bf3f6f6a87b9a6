from __future__ import annotations

from pathlib import Path

import pytest

from auditkit.auditors.fairness.term_groups import TermGroups, check_term_groups, read_term_groups, shipped_term_groups
from auditkit.errors import InputError
from auditkit.schema.text import cased_words, words

PAIRS = TermGroups(
    source="", groups={"f": ("she", "her", "her", "Ann"), "m": ("he", "his", "him", "Frank")}, templates=("{} left",)
)


def test_a_text_is_rewritten_for_every_group() -> None:
    text = cased_words("She saw him, and Frank was frank with her.")
    women, men = PAIRS.versions(text)
    assert words(" ".join(women)) == ["she", "saw", "her", "and", "ann", "was", "frank", "with", "her"]
    # The first place of a term that is listed twice counts: "her" becomes "his".
    assert words(" ".join(men)) == ["he", "saw", "him", "and", "frank", "was", "frank", "with", "his"]


def test_templates_are_filled_with_each_term() -> None:
    filled = PAIRS.filled()
    assert [text.tokens[0] for text in filled] == ["she", "her", "her", "Ann"]
    assert [text.cluster for text in filled] == [0, 1, 2, 3]


def test_what_ships_fits_its_own_form() -> None:
    shipped = check_term_groups(shipped_term_groups())
    assert list(shipped) == ["gender", "name", "origin"]
    for groups in shipped.values():
        assert groups.filled()
        assert all(groups.places(text.tokens) for text in groups.filled())
        # Rewritten for a group, a text of that group stays as it is.
        for place, terms in enumerate(groups.groups.values()):
            for term in terms:
                assert groups.versions([term])[place] == [term]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\nsource = 's'\ngroups = {x = ['one']}", "groups: .*at least 2"),
        ("[a]\nsource = 's'\ngroups = {x = ['one'], y = ['two', 'three']}", "x 1, y 2"),
        ("[a]\nsource = 's'\ngroups = {x = ['one two'], y = ['three']}", "a single word, got 'one two'"),
        ("[a]\nsource = 's'\ntemplates = ['none']\ngroups = {x = ['one'], y = ['two']}", "neither {} nor a term"),
        ("[a]\ngroups = {x = ['one'], y = ['two']}", "source: Field required"),
        ("[a", "not valid TOML"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "terms.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_term_groups(path)
    with pytest.raises(InputError, match="No such file"):
        read_term_groups(tmp_path / "absent.toml")
