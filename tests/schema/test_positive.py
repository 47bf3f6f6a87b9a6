"""Which class is the positive one, told from words of several languages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import auditkit
from auditkit.schema.positive import NEGATIVE_WORDS, POSITIVE_WORDS, folded, positive_of


def test_the_words_are_as_they_are_compared_and_mean_one_thing() -> None:
    assert [word for word in POSITIVE_WORDS | NEGATIVE_WORDS if folded(word) != word] == []
    assert set() == POSITIVE_WORDS & NEGATIVE_WORDS


@pytest.mark.parametrize(
    ("no", "yes"),
    [
        ("no", "yes"),
        ("Nein", "Ja"),
        ("non", "oui"),
        ("no", "sí"),
        ("não", "sim"),
        ("nee", "ja"),
        ("Refusé", "Accepté"),
        ("abgelehnt", "genehmigt"),
        ("nicht bestanden", "bestanden"),
        ("Rechazada", "Aprobada"),
        ("нет", "да"),
        ("未通过", "通过"),
        ("否", "是"),
        ("却下", "承認"),
    ],
)
def test_the_positive_class_means_yes_in_its_language(no: str, yes: str) -> None:
    assert positive_of((no, yes)) == positive_of((yes, no)) == yes
    draws = np.random.default_rng(0)
    outcome = draws.choice([no, yes], 200)
    frame = pd.DataFrame({"sex": draws.choice(["F", "M"], 200), "outcome": outcome, "decision": outcome})
    report = auditkit.audit(
        dataset=frame, target="outcome", prediction="decision", sensitive=["sex"], only=["fairness"]
    )
    rates = report.measurement("fairness.selection_rate", ("sex",))
    assert rates is not None
    for part in rates.slices:
        assert part.value == pytest.approx((outcome == yes)[frame["sex"] == part.group.key[0]].mean())


def test_other_words_say_nothing() -> None:
    assert positive_of(("high", "low")) is None
    assert positive_of(("nein", "vielleicht")) is None
