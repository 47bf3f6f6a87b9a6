"""SEAT: word lists held against an encoder, in sentences made of templates."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from encoders import encoder, token_vectors
from numpy.typing import NDArray

from auditkit import InputError, Report, audit
from auditkit.auditors.bias.association import (
    Sizes,
    associations,
    cosines,
    effect_interval,
    effect_size,
    resampled_effects,
)
from auditkit.auditors.bias.word_lists import check_templates, check_word_lists, shipped_templates, shipped_word_lists
from auditkit.cli import call

Floats = NDArray[np.float64]

LISTS = {
    "first": ["anna", "berta", "clara", "dora", "emma"],
    "second": ["karl", "ludwig", "moritz", "norbert", "otto"],
    "pleasant": ["gentle", "kind", "loyal", "calm", "bright"],
    "unpleasant": ["cruel", "mean", "rude", "angry", "dull"],
}
OTHERS = [first + second for first in ("ta", "ki", "mo", "su", "re", "na") for second in ("lo", "ben", "dir", "fus")]
FRAMES = ["this is {word} .", "we spoke of {word} today ."]
WORDS = ["this", "is", ".", "we", "spoke", "of", "today", "a", *itertools.chain(*LISTS.values()), *OTHERS]


def named_lists(lists: dict[str, list[str]]) -> dict[str, Any]:
    targets, attributes = dict(list(lists.items())[:2]), dict(list(lists.items())[2:])
    return {"names": {"source": "made up", "templates": "own", "targets": targets, "attributes": attributes}}


def planted(folder: Path) -> Path:
    """Write an encoder whose tokens of the first group lie near the pleasant words, the others near the unpleasant."""
    encoder(folder, WORDS, seed=3)
    network: Any = transformers.AutoModel.from_pretrained(folder)
    table = network.get_input_embeddings().weight.data
    for name, words in LISTS.items():
        for word in words:
            table[5 + WORDS.index(word), :4] += 0.1 if name in ("first", "pleasant") else -0.1
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted(tmp_path_factory.mktemp("encoder") / "planted")


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    own = {"own": {"source": "made up", "sentences": FRAMES}}
    return audit(
        folder,
        only=["bias"],
        settings={"bias": {"word_lists": named_lists(LISTS), "templates": own, "random_sets": 100}},
    )


def by_hand(folder: Path) -> list[Floats]:
    """Return the unit vector of every sentence, by transformers alone: four arrays (words, sentences, width)."""
    found = []
    for words in LISTS.values():
        rows = [[token_vectors(folder, frame.replace("{word}", w)).mean(axis=0) for frame in FRAMES] for w in words]
        vectors = np.array(rows)
        found.append(vectors / np.linalg.norm(vectors, axis=2, keepdims=True))
    return found


def test_the_effect_is_that_of_may_et_al_and_a_planted_one_is_found(report: Report, folder: Path) -> None:
    x, y, a, b = (part.reshape(-1, part.shape[-1]) for part in by_hand(folder))

    def near(sentence: Floats) -> float:
        return float(np.mean([sentence @ one for one in a]) - np.mean([sentence @ one for one in b]))

    first, second = [near(one) for one in x], [near(one) for one in y]
    expected = (np.mean(first) - np.mean(second)) / np.std([*first, *second], ddof=1)
    measurement = report.measurement("bias.weat_effect_size", by=("test",))
    assert measurement is not None
    (part,) = (one for one in measurement.slices if one.group.key == ("names",))
    assert part.value == pytest.approx(float(expected), abs=1e-5)
    assert part.value is not None
    assert part.value > 1
    assert part.count == 20
    assert part.interval is not None
    assert part.interval.low > 0
    assert "SEAT" in measurement.definition


def test_whole_words_are_permuted(report: Report, folder: Path) -> None:
    x, y, a, b = by_hand(folder)
    near = [
        float(np.mean(word @ a.reshape(-1, 16).T) - np.mean(word @ b.reshape(-1, 16).T)) for word in np.vstack([x, y])
    ]
    seen = abs(np.mean(near[:5]) - np.mean(near[5:]))
    larger = [
        abs(np.mean([near[row] for row in rows]) - np.mean([near[row] for row in set(range(10)) - set(rows)]))
        >= seen - 1e-9
        for rows in itertools.combinations(range(10), 5)
    ]
    (table,) = (
        exhibit
        for outcome in report.outcomes
        for exhibit in outcome.exhibits
        if exhibit.title == "Sentence association tests"
    )
    names = [column.name for column in table.columns]  # type: ignore[union-attr]
    (row,) = (row for row in table.rows if row[0] == "names")  # type: ignore[union-attr]
    assert row[names.index("p")] == pytest.approx(np.mean(larger))


def test_the_report_lists_the_sentences_and_what_the_model_does_not_know(report: Report) -> None:
    (outcome,) = (one for one in report.outcomes if one.auditor == "bias")
    table = next(one for one in outcome.exhibits if one.title == "Sentences around the words")
    assert [row[1] for row in table.rows if row[0] == "own"] == FRAMES  # type: ignore[union-attr]
    assert any("25 of 116 words of the word lists are known to the model" in note for note in outcome.notes)
    assert any("Not examined" in note and "zh_gender_work_home" in note for note in outcome.notes)


def test_copies_of_one_template_change_nothing_but_the_divisor() -> None:
    generator = np.random.default_rng(0)
    targets, attributes = generator.normal(size=(10, 8)), generator.normal(size=(10, 8))
    one = cosines(targets, attributes)
    three = cosines(np.repeat(targets, 3, axis=0), attributes)
    single, triple = Sizes(5, 5, 5, 5), Sizes(5, 5, 5, 5, sentences=3)
    ratio = np.sqrt((29 / 30) / (9 / 10))
    found = effect_size(associations(three, triple), triple.rows[0])
    assert found == pytest.approx(float(effect_size(associations(one, single), 5)) * ratio)
    assert triple.freedom == single.freedom
    np.testing.assert_allclose(resampled_effects(three, triple), resampled_effects(one, single) * ratio)


def test_the_command_reads_templates_from_a_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "templates.toml").write_text('[own]\nsource = "x"\nsentences = ["we spoke of {word} ."]\n')
    lines = ["[names]", 'source = "x"', 'templates = "own"']
    for part, names in (("targets", list(LISTS)[:2]), ("attributes", list(LISTS)[2:])):
        lines += [f"[names.{part}]", *(f"{name} = {json.dumps(LISTS[name])}" for name in names)]
    (tmp_path / "lists.toml").write_text("\n".join(lines))
    command = ["run", str(folder), "--out", str(tmp_path / "out"), "--set", "bias.random_sets=100", "--only", "bias"]
    command += ["--set", f"bias.word_lists={tmp_path / 'lists.toml'}"]
    assert call([*command, "--set", f"bias.templates={tmp_path / 'templates.toml'}", "--quiet"]) in (0, 1)
    assert "we spoke of {word} ." in (tmp_path / "out" / "results.json").read_text()
    assert call([*command, "--quiet"]) == 2  # the set "own" is not there


def test_what_ships_fits_and_what_does_not_fit_is_refused() -> None:
    lists = check_word_lists(shipped_word_lists())
    known = check_templates({}, lists)
    assert {one.templates for one in lists.values()} == set(known) == set(shipped_templates())
    assert known["en"].around(["ink"])[0] == "This is ink."
    for sentences in (["no place"], ["{word} and {word}"], []):
        with pytest.raises(InputError, match=r"templates \[own\]"):
            check_templates({"own": {"source": "x", "sentences": sentences}}, {})
    with pytest.raises(InputError, match="templates 'own' is no set of sentences; there are en, zh"):
        check_templates({}, check_word_lists(named_lists(LISTS)))


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(5, 5, 5, 5), (8, 8, 8, 8), (14, 14, 12, 12)])
@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_the_interval_covers_the_mean_over_fresh_words_in_the_same_sentences(
    counts: tuple[int, ...], shift: float
) -> None:
    """A sentence's vector is that of its word, that of its template, and what is its own."""
    generator = np.random.default_rng(sum(counts) + int(100 * shift))
    centres = 0.4 * generator.normal(size=(4, 16)) + 0.3
    axis = generator.normal(size=16)
    means = [centre + sign * shift * axis for centre, sign in zip(centres, (1, -1, 1, -1), strict=True)]
    frames = generator.normal(size=(3, 16))

    def fresh() -> list[Floats]:
        return [
            mean + generator.normal(size=(count, 1, 16)) + frames + 0.5 * generator.normal(size=(count, 3, 16))
            for mean, count in zip(means, counts, strict=True)
        ]

    sizes = Sizes(counts[0], counts[1], counts[2], counts[3], sentences=3)

    def similarities(parts: list[Floats]) -> Floats:
        targets = np.vstack(parts[:2]).reshape(-1, 16)
        words = np.vstack(parts[2:])
        found: Floats = cosines(targets, words.reshape(-1, 16)).reshape(len(targets), len(words), 3).mean(axis=2)
        return found

    def effect(cosine: Floats) -> float:
        return float(effect_size(associations(cosine, sizes), sizes.rows[0]))

    truth = np.mean([effect(similarities(fresh())) for _ in range(2_000)])
    trials, held = 300, 0
    for trial in range(trials):
        cosine = similarities(fresh())
        effects = resampled_effects(cosine, sizes, seed=trial)
        low, high = effect_interval(effect(cosine), effects, sizes.freedom, 0.95, sizes.largest)
        held += int(low <= truth <= high)
    assert held / trials >= 0.912  # 0.95 less three standard errors of a share of 300 trials
