"""What membership of texts is not: an attack below chance, unlike sides, and texts that stand several times."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from auditkit.auditors.memorisation import attacks
from auditkit.auditors.memorisation.attacks import _attacks, _by_attack, _by_group, _controls, _whole
from auditkit.auditors.memorisation.material import Material, Side, _clusters
from auditkit.auditors.memorisation.shadow_models import Shadows
from auditkit.evidence.measurement import Table
from auditkit.models.language import TokenScores
from auditkit.progress import silent
from auditkit.stats.membership import roc_auc
from auditkit.stats.shadows import halves, lira_scores

if TYPE_CHECKING:
    from auditkit.engine.subject import Subject


def test_an_attack_below_chance_is_no_result() -> None:
    draws = np.random.default_rng(0)
    rows = np.arange(300)
    seen, unseen = (
        Side(pd.DataFrame(index=rows), rows, [f"text {at + place}" for place in rows], []) for at in (0, 300)
    )
    groups = {"dialect": np.where(np.arange(600) % 2, "a", "b").astype(str)}
    material = Material(seen, unseen, clusters=None, groups=groups, notes=())
    good = draws.normal(size=600) + material.member
    scores = {"loss": good, "zlib": -good}
    for name, estimate in _attacks().items():
        if name == "membership_true_positive_rate_at_0_1_percent":
            continue
        kept, failed = _by_attack(name, estimate, material, scores, 0.95).slices
        assert kept.value is not None
        assert (failed.value, failed.interval) == (None, None)
        assert "the attack is invalid here" in str(failed.reason)
        assert _whole(name, estimate, material, -good, 0.95).value is None
    by_group = _by_group("dialect", groups["dialect"], material, -good, 0.95)
    assert by_group is not None
    assert [part.value for part in by_group.slices] == [None, None]


def _unread(kind: NDArray[np.bool_], seed: int) -> tuple[NDArray[np.float64], Shadows]:
    """Return the log odds of texts of two kinds under a model of other texts, and shadow models of both kinds.

    Neither reads one text rather than another; the model alone finds texts of one kind improbable.
    """
    draws = np.random.default_rng(seed)
    inside = halves(len(kind), 8, seed)
    odds = draws.normal(size=len(kind)) + 1.0 * inside - 2.0 * kind + 0.3 * draws.normal(size=(8, len(kind)))
    target = draws.normal(size=len(kind)) - 6.0 * kind
    return target, Shadows(odds, inside, len(kind), 1, 0.0)


def test_attacks_on_texts_that_were_not_read_are_at_chance_unless_the_sides_are_unlike() -> None:
    """Two sides by a fair coin are at chance; 60 % of a kind against 40 % is not, and the control tells."""
    kind = np.arange(600) < 300
    draws = np.random.default_rng(1)
    target, shadows = _unread(kind, 1)
    scores = lira_scores(target, shadows.odds, shadows.inside, online=True)
    fair: list[tuple[bool, bool]] = []
    unlike: list[tuple[bool, bool]] = []
    for _ in range(200):
        for shares, found in (((0.5, 0.5), fair), ((0.6, 0.4), unlike)):
            member = draws.random(600) < np.where(kind, *shares)
            area = roc_auc(member, scores, 0.95)
            control = roc_auc(member, next(iter(_controls(None, shadows).values())), 0.99)
            found.append((area.low <= 0.5 <= area.high, control.low <= 0.5 <= control.high))
    attack_holds, control_holds = np.mean(fair, axis=0)
    assert 0.91 < attack_holds < 0.99
    assert control_holds > 0.965
    assert np.mean(unlike, axis=0)[0] < 0.2, "the attack is far from chance, and nothing was read"
    assert np.mean(unlike, axis=0)[1] < 0.4, "the control tells of it"


def test_a_control_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    member = np.arange(400) < 200
    kind = np.random.default_rng(2).random(400) < np.where(member, 0.65, 0.35)
    target, shadows = _unread(kind, 3)
    none = np.zeros(2)
    scores = [
        TokenScores(np.zeros(2, np.int64), np.zeros((2, 2), np.int64), np.full(2, one), none, none, none, none > 0, 2)
        for one in -np.log1p(np.exp(-target))
    ]
    rows = np.arange(200)
    words = np.random.default_rng(4).integers(0, 30, (400, 6))
    texts = [" ".join(f"w{word}" for word in row) for row in words]
    seen, unseen = (
        Side(pd.DataFrame(index=rows), rows, texts[at : at + 200], scores[at : at + 200]) for at in (0, 200)
    )
    material = Material(seen, unseen, clusters=None, groups={}, notes=())
    monkeypatch.setattr(attacks, "shadows_of", lambda *_: shadows)
    subject: Any = SimpleNamespace(conf_level=0.95, seed=0, progress=silent)
    evidence = attacks.membership_evidence(subject, material, None, 8)
    assert attacks.CONTROL_FAILS in evidence.notes
    table = next(iter(evidence.exhibits))
    assert isinstance(table, Table)
    control = next(row for row in table.rows if "control: mean under shadow models" in str(row[0]))
    assert float(str(control[3])) < 0.5


def test_texts_that_say_the_same_are_one_cluster() -> None:
    rows = np.arange(4)
    frames = [pd.DataFrame({"author": ["a", "b", None, "c"]}), pd.DataFrame({"author": ["c", "d", None, "e"]})]
    sides = [
        Side(frame, rows, texts, [])
        for frame, texts in zip(frames, (["x", "x", "y", "z"], ["u", "v", "w", "t"]), strict=True)
    ]
    notes: list[str] = []
    alone, together = (
        _clusters(cast("Subject", SimpleNamespace(cluster=one)), sides, notes) for one in (None, "author")
    )
    assert alone is not None
    assert together is not None
    assert alone[0] == alone[1]
    assert len(np.unique(alone)) == 7
    assert together[0] == together[1], "two authors who say the same"
    assert together[3] == together[4], "one author on both sides"
    assert len(np.unique(together)) == 6
    assert "1 of the compared texts" in notes[0]


def test_the_interval_allows_for_texts_that_stand_four_times() -> None:
    """60 texts, each four times, on a side by a fair coin: coverage of 0.5 by the interval over distinct texts."""
    draws = np.random.default_rng(6)
    units = np.arange(60).repeat(4)
    held = []
    for _ in range(300):
        scores, member = draws.normal(size=60)[units], (draws.random(60) < 0.5)[units]
        area = roc_auc(member, scores, 0.95, units)
        held.append(area.low <= 0.5 <= area.high)
    assert np.mean(held) > 0.92
