"""Changed beginnings of texts: what they are, and what a language model says of the rest, against transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from languages import bert, causal_network, gpt2, sentences
from tokenizers import Tokenizer

import auditkit
from auditkit.auditors.robustness.contexts import Divided, context_changes, divided
from auditkit.cli import call
from auditkit.errors import InputError
from auditkit.evidence.measurement import Measurement

TEXTS = [text.split(" and ")[0].capitalize() + ", and so on." for text in sentences(40, seed=3)]
GROUPS = ["x", "y"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gpt2(tmp_path_factory.mktemp("gpt2"), [*TEXTS, "Here is a text: Yes No"], seed=4)


def audited(folder: Path, texts: list[str] = TEXTS, **settings: object) -> auditkit.Report:
    rows = np.arange(len(texts))
    frame = pd.DataFrame({"text": texts, "group": np.array(GROUPS)[rows % 2], "author": rows // 4})
    return auditkit.audit(
        folder, frame, text="text", sensitive=["group"], cluster="author", only=["robustness"],
        settings={"robustness": settings},
    )  # fmt: skip


def measured(report: auditkit.Report, name: str, by: tuple[str, ...] = ()) -> Measurement:
    (outcome,) = [one for one in report.outcomes if one.auditor == "robustness"]
    assert outcome.error is None, outcome.error
    found = report.measurement(f"robustness.{name}", by)
    assert found is not None, name
    return found


def test_words_change_in_their_places_and_everything_else_stays() -> None:
    texts = ["The film (2001) was slow, I think.", "", "Fine"]
    changes = {one.name: one for one in context_changes(texts, {"film": "movie"}, ["Note:"], seed=1)}
    assert list(changes) == ["typing_errors", "dropped_words", "capitals", "lower_case", "synonyms", "prefix"]
    assert changes["capitals"].at(1.0) == ["THE FILM (2001) WAS SLOW, I THINK.", "", "FINE"]
    assert changes["lower_case"].at(1.0)[0] == "the film (2001) was slow, i think."
    assert changes["synonyms"].at(1.0) == ["The movie (2001) was slow, I think.", "", "Fine"]
    assert changes["prefix"].at(1.0)[2] == "Note: Fine"
    assert changes["dropped_words"].at(1.0)[0].strip() == "(),."
    assert changes["dropped_words"].at(0.0) == texts
    some, more = (changes["typing_errors"].at(share)[0].split() for share in (0.3, 0.9))
    before = texts[0].split()
    assert all(one in (two, was) for was, one, two in zip(before, some, more, strict=True)), "draws are shared"
    assert divided("Too short.") is None
    assert divided("one two three four five six", whole=True) == Divided("one two three four five six", "")


def test_added_bits_are_those_of_transformers(folder: Path) -> None:
    report = audited(folder)
    network, tokenizer = causal_network(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))

    def bits(beginning: str, ending: str) -> float:
        encoded = tokenizer.encode(beginning + ending)
        ids = torch.tensor([[0, *encoded.ids]])
        with torch.no_grad():
            chances = network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].log_softmax(dim=-1)
        own = [float(chances[place, one]) for place, one in enumerate(encoded.ids)]
        behind = [end > len(beginning) for _, end in encoded.offsets]
        return -float(sum(np.array(own)[behind])) / float(np.log(2)) / len(ending.encode())

    parts = [part for part in map(divided, TEXTS) if part is not None]
    added = np.array([bits(one.beginning.upper(), one.ending) - bits(*one) for one in parts])
    found = measured(report, "capitals_bits_per_byte_increase")
    assert found.value == pytest.approx(added.mean(), abs=1e-5)
    by_author = added.reshape(-1, 4).mean(axis=1)
    assert found.interval is not None
    half = 2.262 * by_author.std(ddof=1) / np.sqrt(10)  # Student's t of 10 authors
    assert found.interval.low <= added.mean() - half + 1e-4
    groups = measured(report, "capitals_bits_per_byte_increase", ("group",)).slices
    assert [part.value for part in groups] == pytest.approx([added[::2].mean(), added[1::2].mean()], abs=1e-5)
    flips = measured(report, "capitals_flip_rate", ("group",))
    assert all(part.simultaneous_interval is not None for part in flips.slices)


def test_an_answer_is_chosen_behind_the_whole_text(folder: Path) -> None:
    report = audited(folder, answers=["Yes", "No"], synonyms={"film": "movie"}, rows=20)
    assert 0 <= (measured(report, "synonyms_flip_rate").value or 0) <= 1
    assert report.measurement("robustness.synonyms_bits_per_byte_increase") is None
    assert "another answer is the most probable one" in report.model_dump_json()


def test_a_masked_model_chooses_no_next_token(tmp_path: Path) -> None:
    report = audited(bert(tmp_path / "bert"), ["the good film was slow and the plot was dull"] * 6 + TEXTS[:6])
    assert measured(report, "dropped_words_bits_per_byte_increase").count == 12
    assert report.measurement("robustness.dropped_words_flip_rate") is None


def test_settings_that_mean_nothing_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="answers must be two texts or more"):
        audited(folder, answers=["Yes"])
    words = tmp_path / "words.toml"
    words.write_text("film = 3\n")
    (tmp_path / "texts.csv").write_text("text\n" + "\n".join(f'"{text}"' for text in TEXTS) + "\n")
    command = ["run", str(folder), "--dataset", str(tmp_path / "texts.csv"), "--text", "text"]
    assert call([*command, "--set", f"robustness.synonyms={words}"]) == 2
    assert "'film' must have a word as its synonym" in capsys.readouterr().err
