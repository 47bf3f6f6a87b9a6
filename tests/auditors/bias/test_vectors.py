"""Word vectors with planted associations, audited from their file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from languages import causal_network, gpt2
from tokenizers import Tokenizer

from auditkit import InputError, Report, audit
from auditkit.auditors.bias.word_lists import check_word_lists, read_word_lists, shipped_word_lists
from auditkit.cli import call
from auditkit.evidence.report import Outcome

LISTS = """
[planted]
source = "made up"
[planted.targets]
one = ["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"]
two = ["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"]
[planted.attributes]
good = ["g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7"]
bad = ["h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7"]
[nothing]
source = "made up"
[nothing.targets]
three = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"]
four = ["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"]
[nothing.attributes]
good = ["g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7"]
bad = ["h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7"]
[unknown]
source = "made up"
[unknown.targets]
five = ["a0", "a1", "e2", "e3", "e4", "e5"]
six = ["f0", "f1", "f2", "f3", "f4", "f5"]
[unknown.attributes]
good = ["g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7"]
bad = ["h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7"]
"""


def planted(folder: Path) -> Path:
    """Write GloVe text: the words a* lie near g*, b* near h*; c* and d* near neither."""
    generator = np.random.default_rng(0)
    axis = generator.normal(size=16)
    signs = {"a": 1.0, "g": 1.0, "b": -1.0, "h": -1.0, "c": 0.0, "d": 0.0}
    words = {f"{kind}{n}": sign * axis for kind, sign in signs.items() for n in range(8)}
    words |= {f"other{n}": np.zeros(16) for n in range(300)}
    lines = [
        f"{word} " + " ".join(f"{value:.5f}" for value in centre + generator.normal(size=16))
        for word, centre in words.items()
    ]
    path = folder / "vectors.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def outcome_of(report: Report, auditor: str) -> Outcome:
    return next(outcome for outcome in report.outcomes if outcome.auditor == auditor)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("vectors")
    path = planted(folder)
    (folder / "lists.toml").write_text(LISTS, encoding="utf-8")
    return audit(path, settings={"bias": {"word_lists": folder / "lists.toml", "random_sets": 200}})


def test_a_planted_association_is_found_and_an_absent_one_is_not(report: Report) -> None:
    effects = report.measurement("bias.weat_effect_size", by=("test",))
    assert effects is not None
    parts = {part.group.key[0]: part for part in effects.slices}
    found = parts["planted"]
    assert found.value is not None
    assert found.value > 1.5
    assert found.count == 32
    assert found.simultaneous_interval is not None
    assert found.simultaneous_interval.low > 0.8
    absent = parts["nothing"]
    assert absent.interval is not None
    assert absent.interval.low < 0 < absent.interval.high
    shares = report.measurement("bias.random_words_larger_share", by=("test",))
    assert shares is not None
    larger = {part.group.key[0]: part.value for part in shares.slices}
    assert larger["planted"] is not None
    assert larger["planted"] < 0.2
    assert larger["nothing"] is not None
    assert larger["nothing"] > 0.2


def test_words_that_are_not_known_are_counted_and_too_few_are_a_reason(report: Report) -> None:
    effects = report.measurement("bias.weat_effect_size", by=("test",))
    assert effects is not None
    unknown = next(part for part in effects.slices if part.group.key == ("unknown",))
    assert unknown.value is None
    assert unknown.reason == "2 of 6 words of five are in the vocabulary, and 5 are needed"
    outcome = outcome_of(report, "bias")
    assert any(note.startswith("82 of 92 words of the word lists are among the 348 words") for note in outcome.notes)
    assert any("Not examined" in note and "gender_work_home" in note for note in outcome.notes)


def test_the_verdict_is_that_of_the_policy_for_word_vectors(report: Report) -> None:
    assert report.policy.name == "embeddings"
    assert report.exit_code == 1
    failed = [finding for finding in report.findings if finding.verdict == "fail"]
    assert [finding.group.key for finding in failed if finding.group is not None] == [("planted",)]


def test_distances_and_neighbours_agree_with_what_was_planted(report: Report) -> None:
    distances = report.measurement("bias.relative_norm_distance", by=("test", "words"))
    assert distances is not None
    found = {part.group.key: part.value for part in distances.slices}
    assert found["planted", "good"] is not None
    assert found["planted", "good"] < -0.2
    assert found["planted", "bad"] is not None
    assert found["planted", "bad"] > 0.2
    table = next(one for one in outcome_of(report, "bias").exhibits if one.title == "Nearest words")
    assert table.kind == "table"
    near = next(row[2] for row in table.rows if row[:2] == ("one", "all 8 words"))
    assert isinstance(near, str)
    words = near.split(", ")
    assert len(words) == 8
    assert sum(word.startswith("g") for word in words) >= 6
    assert not any(word.startswith("a") for word in words)


def test_nothing_else_runs_and_each_says_why(report: Report) -> None:
    ran = [outcome.auditor for outcome in report.outcomes if outcome.measurements]
    assert ran == ["bias"]
    assert all(outcome.error is None for outcome in report.outcomes)
    assert outcome_of(report, "data").reason == "the rows are the words of a vocabulary, and no records"


def test_one_command_audits_a_file_without_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = planted(tmp_path)
    (tmp_path / "lists.toml").write_text(LISTS, encoding="utf-8")
    lists = ["--set", f"bias.word_lists={tmp_path / 'lists.toml'}", "--set", "bias.random_sets=100"]
    assert call(["run", str(path), *lists, "--out", str(tmp_path / "audit"), "--quiet"]) == 1
    assert (tmp_path / "audit" / "report.html").exists()
    assert call(["run", str(path), "--dataset", str(path), *lists, "--quiet"]) == 2
    assert "are audited on words of their own; leave the data set out" in capsys.readouterr().err


def test_without_any_known_word_the_auditor_does_not_run(tmp_path: Path) -> None:
    lines = "\n".join(f"w{n} {n + 1} 2 3 4" for n in range(50))
    (tmp_path / "vectors.txt").write_text(lines + "\n", encoding="utf-8")
    report = audit(tmp_path / "vectors.txt")
    assert "no word of any word list is in the vocabulary" in str(outcome_of(report, "bias").reason)
    assert report.exit_code != 0


def test_what_ships_fits_its_own_form_in_both_languages() -> None:
    shipped = check_word_lists(shipped_word_lists())
    assert any(name.startswith("zh_") for name in shipped)
    for lists in shipped.values():
        assert all(12 <= len(words) <= 14 for words in lists.lists.values())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a]\nsource = 's'\n[a.targets]\nx = ['w']\n[a.attributes]\nu = ['p']\nv = ['q']\n", r"\[a\]: targets"),
        (
            "[a]\nsource = 's'\n[a.targets]\nx = ['w']\ny = ['w']\n[a.attributes]\nu = ['p']\nv = ['q']\n",
            "'w' is listed 2 times",
        ),
        (
            "[a]\nsource = 's'\n[a.targets]\nx = ['w']\ny = ['z']\n[a.attributes]\nx = ['p']\nv = ['q']\n",
            "a target and an attribute have the same name",
        ),
        ("[a\n", "not valid TOML"),
    ],
)
def test_word_lists_that_are_none_are_refused(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "lists.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=problem):
        read_word_lists(tmp_path / "lists.toml")


def test_an_audit_of_word_vectors_is_replayed(tmp_path: Path) -> None:
    out = tmp_path / "audit"
    path = planted(tmp_path)
    (tmp_path / "lists.toml").write_text(LISTS, encoding="utf-8")
    lists = ["--set", f"bias.word_lists={tmp_path / 'lists.toml'}", "--set", "bias.random_sets=100"]
    assert call(["run", str(path), *lists, "--out", str(out), "--quiet"]) == 1
    assert call(["replay", str(out), "--model", str(path), "--quiet"]) == 0


def test_the_input_embedding_of_a_language_model_is_tested_on_words_of_one_token(tmp_path: Path) -> None:
    words = ["anna", "bella", "clara", "dora", "emma", "adam", "boris", "carl", "david", "emil"]
    words += ["good", "warm", "kind", "fine", "nice", "bad", "cold", "rude", "poor", "dull"]
    others = [f"{one}{two}ke" for one in "bcdfglmnpr" for two in "aeiou"]
    texts = [f"a {word} and a {word}" for word in [*words, *others]] * 3
    folder = gpt2(tmp_path / "gpt2", texts, width=16)
    network = causal_network(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = {word: tokenizer.encode(f"a {word}").ids[1:] for word in [*words, *others]}
    known = [word for word in words if len(rows[word]) == 1]
    assert known == words, "the tokenizer was trained until each word is a token"
    table = network.get_input_embeddings().weight.data
    for place, word in enumerate(words):
        table[rows[word][0], :2] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[place // 5 % 2] * 0.1
    network.save_pretrained(folder)
    lists = {
        "names": {
            "source": "made up",
            "targets": {"first": words[:5], "second": words[5:10]},
            "attributes": {"pleasant": words[10:15], "unpleasant": words[15:]},
        }
    }
    report = audit(
        folder, pd.DataFrame({"text": texts[:20]}), text="text", only=["bias"],
        settings={"bias": {"input_embedding": True, "word_lists": lists, "random_sets": 100}},
    )  # fmt: skip
    measurement = report.measurement("bias.weat_effect_size", ("test",))
    assert measurement is not None, report.outcomes
    (part,) = [one for one in measurement.slices if one.group.key == ("names",)]
    vectors = table.numpy()[[rows[word][0] for word in words]].astype(float)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = unit[:10] @ unit[10:15].T
    apart = near.mean(axis=1) - (unit[:10] @ unit[15:].T).mean(axis=1)
    assert part.value == pytest.approx((apart[:5].mean() - apart[5:].mean()) / apart.std(ddof=1))
    assert part.value is not None
    assert part.value > 1.5, "the names were moved towards the attributes"
