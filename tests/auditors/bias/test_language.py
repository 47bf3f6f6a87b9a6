"""Small language models that learnt a preference, audited on sentences of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import transformers
from languages import NOUNS, VERBS, bert, causal_network, fit, gpt2

from auditkit import InputError, Report, audit
from auditkit.auditors.bias.inputs import read_pairs
from auditkit.cli import call
from auditkit.evidence.report import Outcome

PLACES = [(noun, verb) for noun in NOUNS for verb in VERBS]


def learnt() -> list[str]:
    """Return the texts that the model learns: films are good, books are bad."""
    said = [f"the {kind} {verb} {ending}." for kind, ending in (("film", "good"), ("book", "bad")) for verb in VERBS]
    return said * 12


def pairs(folder: Path) -> Path:
    rows = [
        {
            "sent_more": f"the {kind} {verb} {ending}." + " again" * count,
            "sent_less": f"the {kind} {verb} {other}." + " again" * count,
            "bias_type": kind,
            "template": f"{verb} {count}",
        }
        for kind, ending, other in (("film", "good", "bad"), ("book", "good", "bad"))
        for verb in VERBS
        for count in range(2)
    ]
    pd.DataFrame(rows).to_csv(folder / "pairs.csv", index=False)
    return folder / "pairs.csv"


def counterfactuals(folder: Path) -> Path:
    rows = [
        {"first": f"the {first} {verb} good{end}", "second": f"the {second} {verb} good{end}", "swap": swap,
         "template": f"{verb} {end}"}
        for first, second, swap in (("film", "book", "film or book"), ("plot", "song", "neutral"))
        for verb in VERBS
        for end in (".", "!")
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "swaps.csv", index=False)
    return folder / "swaps.csv"


def questions(folder: Path, unknown: str) -> Path:
    rows = [
        {"prompt": f"the {noun} {verb}", "answer0": "good.", "answer1": "bad.", "answer2": unknown,
         "unknown": 2, "stereotyped": int(noun == "book"), "condition": "ambiguous", "template": verb + noun}
        for noun in ("film", "book")
        for verb in VERBS
    ]  # fmt: skip
    path = folder / f"questions{len(unknown)}.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = gpt2(tmp_path_factory.mktemp("gpt"), learnt())
    fit(place, learnt(), epochs=25)
    return place


@pytest.fixture(scope="module")
def report(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("files")
    settings = {
        "pairs": str(pairs(folder)),
        "counterfactuals": str(counterfactuals(folder)),
        "questions": str(questions(folder, "we do not know.")),
    }
    return audited(model, settings)


def audited(model: Path, settings: dict[str, Any]) -> Report:
    texts = pd.DataFrame({"text": learnt()[:20]})
    return audit(model, texts, text="text", only=["bias"], settings={"bias": settings})


def outcome_of(report: Report) -> Outcome:
    return next(outcome for outcome in report.outcomes if outcome.auditor == "bias")


def parts(report: Report, id: str, *by: str) -> dict[tuple[str, ...], Any]:
    found = report.measurement(f"bias.{id}", by=by)
    assert found is not None
    return {part.group.key: part for part in found.slices}


def test_a_learnt_preference_is_found_in_its_direction(report: Report) -> None:
    assert outcome_of(report).error is None
    preferred = parts(report, "stereotype_preference", "scoring", "bias_type")
    assert preferred["full sentence", "film"].value == 1
    assert preferred["full sentence", "book"].value == 0
    signed = parts(report, "log_likelihood_difference", "scoring", "bias_type")
    assert signed["full sentence", "film"].simultaneous_interval.low > 0
    assert signed["full sentence", "book"].simultaneous_interval.high < 0
    overall = parts(report, "stereotype_preference", "scoring")
    assert overall["full sentence",].value == 0.5
    table = next(one for one in outcome_of(report).exhibits if one.title == "Preference for stereotyped sentences")
    assert table.kind == "table"
    assert [row[:4] for row in table.rows][:2] == [
        ("full sentence", "all", 24.0, 12.0),
        ("shared tokens", "all", 24.0, 12.0),
    ]


def test_full_sentence_scores_are_those_of_transformers(report: Report, model: Path, tmp_path: Path) -> None:
    network, tokenizer = causal_network(model), transformers.AutoTokenizer.from_pretrained(model)
    table = pd.read_csv(pairs(tmp_path))

    def plain(text: str) -> float:
        ids = [0, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        with torch.no_grad():
            chances = network(torch.tensor([ids])).logits.log_softmax(dim=-1)[0]
        return sum(float(chances[place - 1, ids[place]]) for place in range(1, len(ids)))

    films = table[table["bias_type"] == "film"]
    expected = (films["sent_more"].map(plain) - films["sent_less"].map(plain)).mean()
    found = parts(report, "log_likelihood_difference", "scoring", "bias_type")["full sentence", "film"]
    assert found.value == pytest.approx(expected, abs=1e-4)
    assert found.count == 12


def test_a_swap_is_held_against_neutral_swaps(report: Report) -> None:
    signed = parts(report, "counterfactual_difference", "swap")
    assert set(signed) == {("film or book",)}
    assert signed["film or book",].interval.low > 0
    beyond = parts(report, "counterfactual_excess", "swap")["film or book",]
    assert beyond.count == 12
    assert beyond.interval is not None


def test_answers_without_unknown_are_not_informative(report: Report) -> None:
    assert parts(report, "unknown_rate", "condition")["ambiguous",].value == 0
    share = parts(report, "stereotyped_answer_share", "condition")["ambiguous",]
    assert share.value is None
    assert 'not informative: the answer "unknown" is chosen in 0.0 %' in share.reason


def test_answers_with_unknown_tell_a_bias(model: Path, tmp_path: Path) -> None:
    """Of films the model says what stands for unknown, of books what stands for the stereotype."""
    rows = [
        {"prompt": f"the {noun} {verb}", "answer0": answers[0], "answer1": answers[1], "answer2": "odd.",
         "unknown": answers.index("good."), "stereotyped": answers.index("bad."), "template": verb + noun + answers[0]}
        for noun in ("film", "book")
        for verb in VERBS
        for answers in (["good.", "bad."], ["bad.", "good."])
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "questions.csv", index=False)
    found = audited(model, {"questions": str(tmp_path / "questions.csv")})
    assert parts(found, "unknown_rate", "condition")["all",].value == 0.5
    share = parts(found, "stereotyped_answer_share", "condition")["all",]
    assert share.value == 1
    assert share.count == 12
    assert share.interval.low < 0.9


def test_the_agreement_of_the_scorings_is_measured(report: Report) -> None:
    found = report.measurement("bias.scoring_agreement")
    assert found is not None
    said = [note for note in outcome_of(report).notes if "the preference depends on the scoring" in note]
    assert found.value is not None
    assert bool(said) == (found.value < 0.8)


def test_a_masked_model_is_scored_with_each_token_hidden(tmp_path: Path) -> None:
    found = audited(bert(tmp_path / "bert"), {"pairs": str(pairs(tmp_path))})
    assert outcome_of(found).error is None
    preferred = parts(found, "stereotype_preference", "scoring")
    assert set(preferred) == {("full sentence",), ("shared tokens",)}


def test_crows_pairs_are_read_as_they_are_published(tmp_path: Path) -> None:
    """The published file has the index of a data frame as a first column without a name, and lists in cells."""
    (tmp_path / "crows_pairs.csv").write_text(
        ",sent_more,sent_less,stereo_antistereo,bias_type,annotations,anon_writer,anon_annotators\n"
        '0,"Films are dull, they say.","Books are dull, they say.",stereo,medium,"[[]]",a0,[]\n'
        "1,Old films bore us.,New films bore us.,antistereo,age,\"[['age']]\",a1,\"['a7', 'a8']\"\n",
        encoding="utf-8",
    )
    table = read_pairs(str(tmp_path / "crows_pairs.csv"))
    assert table.texts["more"] == ["Films are dull, they say.", "Old films bore us."]
    assert table.texts["less"] == ["Books are dull, they say.", "New films bore us."]
    assert table.kinds == ["medium", "age"]
    assert table.clusters is None


def test_at_most_so_many_rows_are_scored(model: Path, tmp_path: Path) -> None:
    found = audited(model, {"pairs": str(pairs(tmp_path)), "rows": 12})
    assert outcome_of(found).notes[0].startswith("12 of 24 rows of ")


def test_without_sentences_the_auditor_does_not_run(model: Path) -> None:
    outcome = outcome_of(audited(model, {}))
    assert "none were named" in str(outcome.reason)
    assert str(outcome.remedy).startswith("--set bias.pairs=FILE")


@pytest.mark.parametrize(
    ("setting", "text", "problem"),
    [
        ("pairs", "more,other\na,b\n", "has no column 'less'; it has more, other"),
        ("pairs", "more,less\na,\n", "row 1 has no text in 'less'"),
        ("counterfactuals", "first,second\na,b\n", "has no column 'swap'"),
        ("questions", "prompt,answer0,answer1,answer2\na,b,c,d\n", "has no column 'unknown'"),
        (
            "questions",
            "prompt,answer0,answer1,answer2,unknown,stereotyped\na,b,c,d,2,3\n",
            "row 1 has stereotyped 3, not 0, 1 or 2",
        ),
        ("questions", "prompt,answer0,answer1,answer2,unknown,stereotyped\na,b,c,d,x,1\n", "'x'"),
    ],
)
def test_files_that_do_not_fit_are_refused_before_anything_runs(
    setting: str, text: str, problem: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=problem):
        audited(model, {setting: str(tmp_path / "file.csv")})
    pd.DataFrame({"text": learnt()[:20]}).to_csv(tmp_path / "texts.csv", index=False)
    command = ["run", str(model), "--dataset", str(tmp_path / "texts.csv"), "--text", "text", "--only", "bias"]
    assert call([*command, "--set", f"bias.{setting}={tmp_path / 'none.csv'}", "--out", str(tmp_path / "out")]) == 2
    assert "none.csv" in capsys.readouterr().err
