"""Executors: the order of the results, errors, what is asked for lazily, and the same numbers whatever the executor."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from named_shards import named
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

import auditkit
from auditkit.auditors.privacy.auditor import Retraining, retrain_and_predict
from auditkit.auditors.privacy.shadow_models import Plan, Recipe, train_shadows
from auditkit.engine import load
from auditkit.errors import InputError
from auditkit.evidence.measurement import Measurement
from auditkit.execution.base import Executor, Result, Shard, Work, executor_of, untold
from auditkit.execution.in_process import InProcess
from auditkit.execution.local_gpus import LocalDevices
from auditkit.models import predict as prediction
from auditkit.models.predict import NotFiniteError
from auditkit.progress import Progress
from auditkit.schema.infer import numeric_schema
from auditkit.tasks.base import Predictions
from auditkit.tasks.objectives import CrossEntropy
from auditkit.training.dp.plan import PrivateSettings


class Sent:
    """Runs in this process what was pickled, several shards ahead, as an executor on other machines does."""

    def map(
        self, work: Work[Shard, Result], shards: Iterable[Shard], progress: Callable[[int], Progress] = untold
    ) -> Iterator[Result]:
        sent = [pickle.dumps((work, shard)) for shard in shards]
        found = {}
        for place in reversed(range(len(sent))):
            there, shard = pickle.loads(sent[place])
            found[place] = pickle.dumps(there(shard, "cpu", progress(place)))
        return iter([pickle.loads(found[place]) for place in range(len(sent))])


def test_in_process_takes_one_shard_at_a_time() -> None:
    taken: list[int] = []
    told: list[tuple[int, float]] = []

    def shards() -> Iterator[int]:
        for shard in (3, 1, 2):
            taken.append(shard)
            yield shard

    results = InProcess("cpu").map(
        partial(named, 10), shards(), lambda place: lambda share, what: told.append((place, share))
    )
    assert next(results) == (13, "cpu")
    assert taken == [3]
    assert list(results) == [(11, "cpu"), (12, "cpu")]
    assert told == [(0, 0.5), (1, 0.5), (2, 0.5)]


def test_devices_share_the_shards_in_turn_and_keep_their_order() -> None:
    told: list[int] = []
    pair = LocalDevices(("first", "second"))
    done = list(pair.map(partial(named, 1), range(5), lambda place: lambda share, what: told.append(place)))
    assert done == [(1, "first"), (2, "second"), (3, "first"), (4, "second"), (5, "first")]
    assert told == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="shard -1"):
        list(pair.map(partial(named, 1), [-1]))


def fresh(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


@pytest.fixture(scope="module")
def rows() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    inputs = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    return inputs, (inputs[:, 0] > 0).astype(np.int64)


def test_shadow_models_are_the_same_wherever_they_are_trained(
    rows: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    here, there = (
        train_shadows(fresh, *rows, Recipe(2), Plan(10, seed=3), executor=executor)
        for executor in (InProcess(), Sent())
    )
    assert here.probabilities.shape == (10, 120, 2)
    assert np.array_equal(here.probabilities, there.probabilities)
    assert np.array_equal(here.inside, there.inside)


def test_private_retrainings_are_the_same_wherever_they_run(
    rows: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    schema = numeric_schema(("a", "b", "c"), target="y", classes=("no", "yes"))
    work = partial(retrain_and_predict, (*rows, rows[0]), CrossEntropy(), schema)

    def shards() -> Iterator[Retraining]:
        for seed in (0, 1):
            yield Retraining(fresh(seed), PrivateSettings(epsilon=3.0, epochs=1, seed=seed))

    for (ledger, said), (other, again) in zip(InProcess().map(work, shards()), Sent().map(work, shards()), strict=True):
        assert ledger == other
        assert np.array_equal(said.probabilities, again.probabilities)


def test_an_executor_is_found_by_its_name() -> None:
    assert executor_of("in_process", "cpu") == InProcess("cpu")
    with pytest.raises(InputError, match="at least 2 GPUs, got 0 for device cpu; leave --executor out"):
        executor_of("local_gpus", "cpu")
    with pytest.raises(InputError, match=r"unknown executor 'inprocess' \(did you mean 'in_process'"):
        executor_of("inprocess", "cpu")


def test_shadow_estimators_are_the_same_wherever_they_are_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(rng.normal(size=(240, 2)), columns=["a", "b"])
    frame["y"] = np.where(frame["a"] + rng.normal(size=240) > 0, "yes", "no")
    model = LogisticRegression().fit(frame[["a", "b"]], frame["y"])

    def measured(executor: Executor) -> Sequence[Measurement]:
        monkeypatch.setattr(load, "executor_of", lambda name, device: executor)
        report = auditkit.audit(model, frame[120:], target="y", train_dataset=frame[:120], only=["leakage"], shadows=4)
        return next(one.measurements for one in report.outcomes if one.auditor == "leakage")

    here = measured(InProcess())
    assert any(one.id == "leakage.membership_auc" and one.value is not None for one in here)
    assert here == measured(Sent())


def test_predictions_of_many_rows_are_the_same_wherever_they_are_made(
    rows: tuple[NDArray[np.float32], NDArray[np.int64]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "ROWS_AT_ONCE", 50)
    inputs = rows[0].copy()
    schema = numeric_schema(("a", "b", "c"), target="y", classes=("no", "yes"))

    def predicted(executor: Executor | None) -> Predictions:
        return prediction.predict_rows(
            fresh(1), lambda part: inputs[part], 120, schema, device=torch.device("cpu"), executor=executor
        )

    assert np.array_equal(predicted(None).probabilities, predicted(Sent()).probabilities)
    inputs[70] = np.nan
    with pytest.raises(NotFiniteError) as caught:
        predicted(Sent())
    assert caught.value.rows.tolist() == [70]
