"""The words that introduce each auditor: none that auditkit ships is introduced as another package's."""

from __future__ import annotations

import pytest

from auditkit.plugins import installed
from auditkit.render.words_by_task import plugin_words, words_of

OF_ONE_TASK = {"language": "language"}
"""Auditors that run on models of one task only."""

SHIPPED = [name for name, entry in installed("auditors").items() if entry.value.startswith("auditkit.")]


@pytest.mark.parametrize("auditor", SHIPPED)
def test_every_auditor_that_auditkit_ships_has_words_of_its_own(auditor: str) -> None:
    tasks = [OF_ONE_TASK[auditor]] if auditor in OF_ONE_TASK else ["binary", "generation", "language", "regression"]
    for task in tasks:
        words = words_of(auditor, task)
        assert words != plugin_words(auditor), task
        assert all((words.asked, words.reading, words.remedy, words.does_not_show))


def test_an_auditor_of_another_package_is_introduced_as_one() -> None:
    assert "is not part of auditkit" in words_of("other", "binary").asked
