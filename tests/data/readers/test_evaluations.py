"""Logs of Inspect and of lm-evaluation-harness, written by hand after their documented forms, as recorded outcomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditkit import InputError, audit
from auditkit.cli import call
from auditkit.data.dataset import read_data
from auditkit.data.readers.base import Scores
from auditkit.errors import DatasetError


def sample(number: int, epoch: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "epoch": epoch,
        "input": "What is it?",
        "target": "A",
        "messages": [],
        "scores": {"choice": {"value": "C" if number % 3 else "I", "answer": "A"}},
        "metadata": {"category": "xy"[number % 2], "hard": number > 3, "passage": "long " * 30},
        **more,
    }


def inspect_log(folder: Path, samples: list[dict[str, Any]], **more: Any) -> Path:
    spec = {
        "created": "2026-01-01T00:00:00+00:00",
        "task": "arc",
        "model": "mockllm/model",
        "dataset": {},
        "config": {},
    }
    log = {"version": 2, "status": "success", "eval": spec, "plan": {}, "results": {}, "stats": {}, "samples": samples}
    path = folder / "2026-01-01_arc.json"
    path.write_text(json.dumps(log | more, indent=2), encoding="utf-8")
    return path


def line(number: int, **more: Any) -> dict[str, Any]:
    return {
        "doc_id": number,
        "doc": {"question": "What is it? " * 20, "subject": "xy"[number % 2]},
        "target": "1",
        "arguments": {"gen_args_0": {"arg_0": "What is it?"}},
        "resps": [[["-1.5", "False"]]],
        "filtered_resps": [["-1.5", "False"]],
        "filter": "none",
        "metrics": ["acc"],
        "doc_hash": "a",
        "prompt_hash": "b",
        "target_hash": "c",
        "acc": float(number % 4 > 0),
        **more,
    }


def harness_log(folder: Path, lines: list[dict[str, Any]], name: str = "arc_easy") -> Path:
    path = folder / f"samples_{name}_2026-01-01T00-00-00.123456.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return path


def test_samples_of_inspect_are_rows_and_epochs_are_clusters(tmp_path: Path) -> None:
    data = read_data(inspect_log(tmp_path, [sample(n, epoch) for n in range(6) for epoch in (1, 2)]))
    assert list(data.frame.columns) == ["task", "sample", "epoch", "choice", "category", "hard"]
    assert data.frame["choice"].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1]
    assert data.frame["sample"].tolist()[:3] == ["arc 0", "arc 0", "arc 1"]
    assert data.frame["hard"].tolist()[-1] == "true"
    assert data.scores == Scores(("choice",), cluster="sample", group="task")
    assert any("1 fields of the samples were not read" in note for note in data.notes)
    assert "A log of Inspect: task arc, model mockllm/model." in data.notes


def test_what_inspect_could_not_score_is_counted_and_has_no_score(tmp_path: Path) -> None:
    samples = [
        sample(1),
        sample(2, error={"message": "boom", "traceback": "", "traceback_ansi": ""}),
        sample(4, scores={"choice": {"value": float("nan")}}),
        sample(5, limit={"type": "token", "limit": 100}),
        sample(7, invalidation={"author": "me", "timestamp": "2026-01-01T00:00:00+00:00"}),
        sample(8, scores=None),
    ]
    data = read_data(inspect_log(tmp_path, samples, status="error"))
    np.testing.assert_array_equal(data.frame["choice"], [1, np.nan, np.nan, 1, np.nan])
    notes = " ".join(data.notes)
    assert "1 of 5 samples ended in an error and have no score." in notes
    assert "1 of 5 samples were stopped by a limit of the evaluation; their scores count." in notes
    assert "1 samples were declared invalid and were left out." in notes
    assert "The status of the evaluation is error" in notes


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("C", 1),
        ("I", 0),
        ("P", 0.5),
        ("N", 0),
        ("Yes", 1),
        ("false", 0),
        (True, 1),
        (3, 3),
        (0.25, 0.25),
        ("0.75", 0.75),
    ],
)
def test_scores_are_read_as_inspect_reads_them(value: Any, number: float, tmp_path: Path) -> None:
    data = read_data(inspect_log(tmp_path, [sample(1, scores={"mine": {"value": value}})]))
    assert data.frame["mine"].tolist() == [number]


def test_several_scorers_and_parts_of_a_score_are_columns_and_texts_are_not_read(tmp_path: Path) -> None:
    scores = {
        "match": {"value": "C"},
        "judge": {"value": {"polite": 3, "right": "I"}},
        "words": {"value": "a sentence"},
        "list": {"value": [1, 2]},
    }
    path = inspect_log(tmp_path, [sample(n, scores=scores) for n in range(12)])
    data = read_data(path)
    assert data.scores is not None
    assert data.scores.columns == ("match", "judge.polite", "judge.right")
    assert "Not read, since they are no numbers: the scores list, words." in data.notes
    with pytest.raises(InputError, match=r"has the scores match, judge\.polite, judge\.right; name one of them with"):
        audit(data=path)
    report = audit(data=path, outcome="judge.right", only=["fairness"])
    found = report.measurement("fairness.mean_outcome")
    assert found is not None
    assert found.value == 0


def test_documents_of_the_harness_are_rows(tmp_path: Path) -> None:
    data = read_data(harness_log(tmp_path, [line(n) for n in range(6)]))
    assert list(data.frame.columns) == ["task", "sample", "acc", "subject"]
    assert set(data.frame["task"]) == {"arc_easy"}
    assert data.frame["acc"].tolist() == [0, 1, 1, 1, 0, 1]
    assert data.frame["subject"].tolist() == ["x", "y"] * 3


def test_filters_of_the_harness_are_scores_of_their_own(tmp_path: Path) -> None:
    lines = [
        line(n, filter=name, metrics=["exact_match"], exact_match=float(name == "strict" and n > 1))
        for name in ("strict", "flexible")
        for n in range(4)
    ]
    data = read_data(harness_log(tmp_path, lines))
    assert data.scores is not None
    assert data.scores.columns == ("exact_match,strict", "exact_match,flexible")
    assert len(data.frame) == 4
    assert data.frame["exact_match,strict"].tolist() == [0, 0, 1, 1]


def test_older_logs_of_the_harness_name_no_metrics(tmp_path: Path) -> None:
    lines = [line(n, acc_norm=1.0, perplexity=[0.5, 3]) for n in range(3)]
    for one in lines:
        del one["metrics"]
    data = read_data(harness_log(tmp_path, lines))
    assert data.scores is not None
    assert data.scores.columns == ("acc", "acc_norm")
    assert "Not read, since they are no numbers: the scores perplexity." in data.notes


def test_logs_of_two_tasks_are_one_data_set(tmp_path: Path) -> None:
    harness_log(tmp_path, [line(n) for n in range(8)])
    harness_log(tmp_path, [line(n) for n in range(8)], name="arc_hard")
    data = read_data(str(tmp_path / "samples_*.jsonl"))
    assert data.scores is not None
    assert data.frame["sample"].nunique() == 16
    assert sorted(set(data.frame["task"])) == ["arc_easy", "arc_hard"]


def test_one_command_gives_means_with_intervals_by_group_and_the_gate(tmp_path: Path) -> None:
    path = inspect_log(tmp_path, [sample(n, epoch) for n in range(60) for epoch in (1, 2, 3)])
    policy, out = tmp_path / "policy.toml", tmp_path / "out"
    policy.write_text(
        'name = "p"\n[[limit]]\nmeasurement = "fairness.mean_outcome"\nat_least = 0.9\nrationale = "Right."\n'
    )
    command = ["run", "--results", str(path), "--sensitive", "category", "--policy", str(policy), "--out", str(out)]
    assert call([*command, "--quiet"]) == 1
    report = audit(data=path, sensitive=["category"], only=["fairness"])
    found = report.measurement("fairness.mean_outcome")
    assert found is not None
    assert found.value == pytest.approx(2 / 3)
    assert found.effective_count == pytest.approx(60, rel=0.05)  # three epochs of a sample that always agree
    assert found.interval is not None
    assert found.interval.low < 2 / 3 < found.interval.high
    by_category = report.measurement("fairness.mean_outcome", by=("category",))
    assert by_category is not None
    assert len(by_category.slices) == 2
    assert call(["replay", str(out), "--dataset", str(path)]) == 0


def test_without_a_named_column_the_tasks_are_the_groups(tmp_path: Path) -> None:
    harness_log(tmp_path, [line(n) for n in range(40)])
    harness_log(tmp_path, [line(n, acc=float(n % 2)) for n in range(40)], name="arc_hard")
    report = audit(data=str(tmp_path / "samples_*.jsonl"), only=["fairness"])
    found = report.measurement("fairness.mean_outcome", by=("task",))
    assert found is not None
    assert {part.group.key[0]: part.value for part in found.slices} == {"arc_easy": 0.75, "arc_hard": 0.5}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"version": 2, "status": "success", "eval": 3}', "it has no key 'eval'"),
        ('{"version": 2, "status": "success", "eval": {}, "samples": [', "not a log of Inspect"),
        ('{"version": 2, "status": "started", "eval": {"task": "t"}}', "holds no sample with a score"),
        ('{"version": 2, "status": "success", "eval": {}, "samples": [1, {"scores": 3}]}', "no sample with a score"),
        ('{"version": 2, "status": "success", "eval": ' + '{"a": ' * 500 + "1" + "}" * 501, "nested deeper than 64"),
    ],
)
def test_a_damaged_log_of_inspect_is_refused(content: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=problem) as raised:
        read_data(tmp_path / "log.json")
    assert "\n" not in str(raised.value)


def scored(**scores: Any) -> dict[str, Any]:
    return {"id": 1, "epoch": 1, "scores": {name: {"value": value} for name, value in scores.items()}}


@pytest.mark.parametrize(
    ("samples", "problem"),
    [
        (5, "its key 'samples' is no list"),
        ([sample(1), sample(2), sample(1)], "sample '1' stands 2 times in epoch '1'"),
        ([scored(task=1.0)], "a score is called 'task'"),
        ([scored(**{"": 1.0})], "a score is called ''"),
        ([scored(**{"half \ud800": 1.0})], "holds half of a character"),
        ([{**scored(a=1.0), "id": "half \ud800"}], "holds half of a character"),
        ([{**scored(a=1.0), "metadata": {"half \udfff": 1}}], "holds half of a character"),
    ],
)
def test_a_log_of_inspect_by_a_hostile_author_is_refused_in_one_line(
    samples: Any, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=problem) as raised:
        read_data(inspect_log(tmp_path, samples))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("key", ["a{n}", "{n}"])
def test_logs_that_name_other_fields_in_every_sample_are_no_tables(key: str, tmp_path: Path) -> None:
    own = [{key.format(n=n): 1.0} for n in range(10_000)]
    lines = [{"doc_id": n, "doc": {}, "a": 1, **one} for n, one in enumerate(own)]
    fields = [{"id": n, "scores": {"a": {"value": 1}}, "metadata": one} for n, one in enumerate(own)]
    scores = [{"id": n, "scores": {name: {"value": 1} for name in one}} for n, one in enumerate(own)]
    for samples in (fields, scores):
        with pytest.raises(DatasetError, match="cells for each character"):
            read_data(inspect_log(tmp_path, samples))
    with pytest.raises(DatasetError, match="cells for each character"):
        read_data(harness_log(tmp_path, lines))


def test_numbers_that_no_sum_can_hold_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, value in enumerate((10**400, 1e308, -1e101, "1e999")):
        samples = [*(sample(n) for n in range(60)), {**scored(choice=value), "id": 60}]
        folder = tmp_path / str(number)
        folder.mkdir()
        assert call(["run", "--results", str(inspect_log(folder, samples)), "--out", str(folder / "out")]) == 2
        told = capsys.readouterr().err
        assert "column 'choice' is numeric, but row 60 holds" in told
        assert told.count("\n") == 1


def test_a_key_that_stands_twice_in_a_log_is_refused(tmp_path: Path) -> None:
    path = harness_log(tmp_path, [line(1)])
    path.write_text(path.read_text("utf-8").replace('"acc": ', '"acc": 0, "acc": '), encoding="utf-8")
    with pytest.raises(DatasetError, match="line 1: not a JSON object: an object names a key twice"):
        read_data(path)


def test_a_log_in_binary_form_is_told_how_to_become_json(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
        archive.writestr("_journal/start.json", "{}")
    with pytest.raises(DatasetError, match="inspect log convert FILE --to json"):
        read_data(tmp_path / "log.eval")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([line(1), line(1)], "line 2: document 1 has acc twice"),
        ([line(1), {"a": 1}], "line 2: has no doc_id"),
        ([line(1, acc=None)], "no sample with a score"),
        ([line(1, metrics=["acc", "sample"], sample=1)], "a score is called 'sample'"),
        ([line(1, metrics=[], acc=1.0)], "no sample with a score"),
    ],
)
def test_a_damaged_log_of_the_harness_is_refused(lines: list[dict[str, Any]], problem: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=problem):
        read_data(harness_log(tmp_path, lines))


def test_other_json_lines_are_read_as_before(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"doc_id": 1, "age": 3}\n{"doc_id": 2, "age": 4}\n', encoding="utf-8")
    data = read_data(tmp_path / "rows.jsonl")
    assert list(data.frame.columns) == ["doc_id", "age"]
    assert data.scores is None
