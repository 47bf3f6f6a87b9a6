"""Predictions and shadow models on a real Ray on this machine, the same to the last digit: `make extras`."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import ray
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import auditkit
from auditkit.auditors.privacy.shadow_models import Plan, Recipe, train_shadows
from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.evidence.report import Report
from auditkit.execution.base import executor_of
from auditkit.execution.in_process import InProcess
from auditkit.models import predict as prediction
from auditkit.progress import Progress
from auditkit.schema.infer import numeric_schema


@pytest.fixture(scope="module", autouse=True)
def stopped() -> Iterator[None]:
    torch.set_num_threads(1)
    yield
    ray.shutdown()


def told_where(shift: int, shard: int, device: str, progress: Progress) -> tuple[int, int]:
    if shard < 0:
        raise NotRun(Message("shard {n} is below 0", n=shard))
    return shard + shift, os.getpid()


def ended(shard: int, device: str, progress: Progress) -> int:
    os._exit(3)


def fresh(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def test_shards_keep_their_order_and_an_error_stays_itself() -> None:
    executor = executor_of("ray", "cpu")
    told: list[int] = []
    done = list(
        executor.map(functools.partial(told_where, 10), range(9), lambda place: lambda share, what: told.append(place))
    )
    assert [number for number, _ in done] == list(range(10, 19))
    assert os.getpid() not in {process for _, process in done}
    assert told == list(range(9))
    with pytest.raises(NotRun, match="shard -1 is below 0") as caught:
        list(executor.map(functools.partial(told_where, 0), [1, -1]))
    assert type(caught.value) is NotRun


def test_a_worker_that_ends_is_an_error_and_not_a_hang() -> None:
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        list(executor_of("ray", "cpu").map(ended, [1]))


def test_shadow_models_are_the_same_to_the_last_digit() -> None:
    inputs = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    here, there = (
        train_shadows(fresh, inputs, labels, Recipe(2), Plan(10, seed=3), executor=executor)
        for executor in (InProcess(), executor_of("ray", "cpu"))
    )
    assert np.array_equal(here.probabilities, there.probabilities)


def test_predictions_of_many_rows_are_the_same_to_the_last_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "ROWS_AT_ONCE", 1000)
    inputs = np.random.default_rng(1).normal(size=(4321, 3)).astype(np.float32)
    schema = numeric_schema(("a", "b", "c"), target="y", classes=("no", "yes"))
    here, there = (
        prediction.predict_rows(
            fresh(0), lambda rows: inputs[rows], len(inputs), schema, device=torch.device("cpu"), executor=executor
        )
        for executor in (None, executor_of("ray", "cpu"))
    )
    assert np.array_equal(here.probabilities, there.probabilities)


def audit_of(model: object, frame: pd.DataFrame, executor: str) -> Report:
    half = len(frame) // 2
    train, test = frame[:half], frame[half:]
    return auditkit.audit(
        model, test, target="y", sensitive=["g"], train_dataset=train, only=["leakage", "performance"],
        executor=executor, shadows=4,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["network", "estimator"])
def test_an_audit_has_the_same_numbers(kind: str) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(rng.normal(size=(800, 3)), columns=["a", "b", "c"])
    frame["y"] = np.where(frame["a"] + rng.normal(size=800) > 0, "yes", "no")
    frame["g"] = rng.choice(["u", "v"], 800)
    model: object = fresh(0)
    if kind == "estimator":
        model = LogisticRegression().fit(frame[["a", "b", "c"]], frame["y"])
    here, there = (audit_of(model, frame, executor) for executor in ("in_process", "ray"))
    measured = [one for outcome in here.outcomes for one in outcome.measurements]
    assert {one.id for one in measured} >= {"leakage.membership_auc", "performance.accuracy"}
    assert measured == [one for outcome in there.outcomes for one in outcome.measurements]
