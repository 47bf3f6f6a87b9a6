"""Attacks with shadow models against naive loops, and their control on sets that are alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from auditkit.errors import InputError
from auditkit.stats.membership import roc_auc
from auditkit.stats.shadows import halves, lira_scores, rmia_scores, split_scores


def test_lira_agrees_with_a_loop() -> None:
    rng = np.random.default_rng(0)
    for models in (6, 70):
        target, shadows = rng.normal(size=20), rng.normal(size=(models, 20))
        inside = np.zeros((models, 20), dtype=bool)
        for row in range(20):
            inside[rng.permutation(models)[: models // 2], row] = True
        ins = [shadows[inside[:, row], row] for row in range(20)]
        outs = [shadows[~inside[:, row], row] for row in range(20)]
        if models < 64:  # one variance for all: the mean of the rows' own, as all have as many shadows
            deviations = [[np.sqrt(np.mean([part.var(ddof=1) for part in side]))] * 20 for side in (ins, outs)]
        else:
            deviations = [[part.std(ddof=1) for part in side] for side in (ins, outs)]
        online, offline = [], []
        for row in range(20):
            inner = stats.norm(ins[row].mean(), deviations[0][row])
            outer = stats.norm(outs[row].mean(), deviations[1][row])
            online.append(inner.logpdf(target[row]) - outer.logpdf(target[row]))
            offline.append(stats.norm.ppf(outer.cdf(target[row])))
        assert lira_scores(target, shadows, inside, online=True) == pytest.approx(np.array(online))
        assert lira_scores(target, shadows, inside, online=False) == pytest.approx(np.array(offline))


def test_lira_needs_two_shadows_on_each_side() -> None:
    with pytest.raises(InputError, match="2 that saw each row"):
        lira_scores(np.zeros(2), np.zeros((2, 2)), np.array([[True, False], [False, True]]), online=True)


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_rmia_agrees_with_a_loop_over_pairs(gamma: float) -> None:
    rng = np.random.default_rng(1)
    target, shadows = rng.normal(size=30), rng.normal(size=(4, 30))
    inside = np.array([[True], [False], [True], [False]]) ^ (rng.random(30) < 0.5)
    population = rng.random(30) < 0.4
    probability = 1 / (1 + np.exp(-shadows))
    ratio = []
    for row in range(30):
        seen, unseen = probability[inside[:, row], row].mean(), probability[~inside[:, row], row].mean()
        ratio.append(1 / (1 + np.exp(-target[row])) / ((seen + unseen) / 2))
    others = np.array(ratio)[population]
    expected = [np.mean((ratio[row] / gamma > others) + (ratio[row] / gamma == others) / 2.0) for row in range(30)]
    assert rmia_scores(target, shadows, inside, population, gamma=gamma) == pytest.approx(np.array(expected))


def test_rmia_orders_rows_as_their_ratios_do_and_does_not_favour_the_population() -> None:
    rng = np.random.default_rng(2)
    target, shadows = rng.normal(size=80), rng.normal(size=(4, 80))
    inside = halves(80, 4, 0)
    areas = []
    for _ in range(400):
        member = rng.permutation(80) < 40
        found = rmia_scores(target, shadows, inside, ~member)
        assert len(np.unique(found[~member])) == 40
        areas.append(roc_auc(member, found, 0.95).value)
    error = np.std(areas) / 20
    assert abs(np.mean(areas) - 0.5) < 3 * error, "rows of which none was read are at chance"
    order = np.argsort(found, kind="stable")
    likely = 1 / (1 + np.exp(-shadows))
    mean = (np.where(inside, likely, 0).sum(axis=0) / 2 + np.where(~inside, likely, 0).sum(axis=0) / 2) / 2
    ratio = 1 / (1 + np.exp(-target)) / mean
    assert roc_auc(member, ratio, 0.95).value == pytest.approx(roc_auc(member, found, 0.95).value)
    assert (np.diff(ratio[order][~member[order]]) > 0).all()


def test_the_control_leaves_out_the_pair_of_each_shadow() -> None:
    rng = np.random.default_rng(3)
    inside = halves(40, 6, 0)
    shadows = rng.normal(size=(6, 40)) + 3 * inside
    population = np.arange(40) >= 20
    found = split_scores(shadows, inside, population)
    rest = [0, 1, 4, 5]
    assert found[2] == pytest.approx(rmia_scores(shadows[2], shadows[rest], inside[rest], population))
    assert found[3] == pytest.approx(rmia_scores(shadows[3], shadows[rest], inside[rest], population))
