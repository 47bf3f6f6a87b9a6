"""Attacks on the membership of texts that come out clearly below chance are no result."""

from __future__ import annotations

import numpy as np
import pandas as pd

from auditkit.auditors.memorisation.attacks import _attacks, _by_attack, _by_group, _whole
from auditkit.auditors.memorisation.material import Material, Side


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
