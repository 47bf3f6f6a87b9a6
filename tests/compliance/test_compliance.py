"""Frameworks, facts and the states of clauses: nothing is claimed that a run or a person did not say."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from gallery import gallery_report
from keys import group
from sample import build_report

from auditkit.compliance.assess import Assessment, applicability, assess
from auditkit.compliance.facts import YES_OR_NO, Facts, facts_template, known_facts, read_facts
from auditkit.compliance.framework import installed, load_framework
from auditkit.errors import InputError
from auditkit.evidence.measurement import Measurement, Slice
from auditkit.evidence.policy import default_policy
from auditkit.evidence.records import SamplingRecord
from auditkit.evidence.report import Outcome, Report
from auditkit.render.html.comply import render_comply

ROOT = Path(__file__).parents[2]
EVERY_FACT = Facts(answers=dict.fromkeys(known_facts(), "said"))


@pytest.fixture(scope="module")
def census() -> Report:
    return gallery_report("census")


def state(assessment: Assessment, id: str, topic: str = "") -> str:
    return next(one.state for one in assessment.clauses if one.clause.id == id and topic in one.clause.topic)


@pytest.mark.parametrize("key", installed())
def test_every_framework_dates_itself_and_asks_only_what_facts_toml_offers(key: str) -> None:
    framework = load_framework(key)
    assert framework.status
    assert framework.applies_from
    assert framework.as_of.year >= 2026
    assert framework.clause
    for clause in framework.clause:
        assert set(clause.facts) <= set(known_facts())
        assert clause.measurements or clause.record or clause.exhibits or clause.facts


def test_every_measurement_that_a_clause_names_is_one_that_an_auditor_makes() -> None:
    from auditkit.engine.audit import describe_auditors

    made = {id for one in describe_auditors() for id in one.measures}
    not_built = ("generation.",)
    for key in installed():
        for clause in load_framework(key).clause:
            for pattern in (one for either in clause.measurements for one in either.split("|")):
                assert any(fnmatchcase(id, pattern) for id in made) or pattern.startswith(not_built), pattern


def test_every_fact_is_asked_by_some_framework() -> None:
    asked = {fact for key in installed() for clause in load_framework(key).clause for fact in clause.facts}
    asked |= {load_framework(key).question_fact for key in installed()}
    for_the_tables = {key for key in known_facts() if key.startswith("ll144_")}
    assert set(known_facts()) - for_the_tables <= asked


def test_iso_text_is_not_copied() -> None:
    assert all(clause.topic == "" for clause in load_framework("iso-42001").clause)


def test_what_is_second_hand_says_so() -> None:
    act = load_framework("eu-ai-act")
    assert (act.status_source, act.applies_from_source) == ("secondary", "secondary")
    assert [clause.id for clause in act.clause if clause.source == "secondary"] == ["Art. 50(2)", "Art. 86"]


def test_states_follow_from_the_run_and_from_what_people_stated(census: Report) -> None:
    act = load_framework("eu-ai-act")
    bare, full = assess(census, act), assess(census, act, EVERY_FACT)
    assert state(bare, "Annex IV 3") == "evidenced"
    assert state(bare, "Annex IV 2(g)") == "partial"
    assert state(full, "Annex IV 2(g)") == "evidenced"
    assert state(bare, "Annex IV 5") == "human input required"
    assert state(full, "Annex IV 5") == "partial", "a statement alone is no evidence"
    assert state(bare, "Art. 15(4)") == "partial", "damaged inputs are not all that robustness is"
    assert state(full, "Art. 14(4)(a), (c)") == "partial", "a run cannot show all that this clause asks"
    kept = tuple(one for one in census.outcomes if one.auditor != "robustness")
    without = assess(census.model_copy(update={"outcomes": kept}), act)
    assert state(without, "Art. 15(4)") == "human input required"
    robust = next(one for one in without.clauses if one.clause.id == "Art. 15(4)")
    assert robust.missing == (
        "Not measured in this run: any measurement of Robustness (no auditor 'robustness' in this run)",
    )


def test_the_default_policy_is_no_threshold_fixed_beforehand(census: Report) -> None:
    act = load_framework("eu-ai-act")
    assert census.policy.source == default_policy().source
    by_default = next(one for one in assess(census, act, EVERY_FACT).clauses if one.clause.id == "Art. 9(6), 9(8)")
    assert by_default.state == "partial"
    assert any("default policy" in text for text in by_default.missing)
    own = census.model_copy(update={"policy": census.policy.model_copy(update={"source": "policy.toml"})})
    assert state(assess(own, act, EVERY_FACT), "Art. 9(6), 9(8)") == "evidenced"


def test_a_measurement_without_a_value_is_no_evidence() -> None:
    empty = Measurement(
        id="performance.accuracy", unit="rate", better="higher", count=0, definition="x", reason="one class only"
    )
    report = build_report(outcomes=(Outcome(auditor="performance", version="1", measurements=(empty,)),))
    assert state(assess(report, load_framework("eu-ai-act")), "Art. 13(3)(b)(ii)", "Accuracy") == (
        "human input required"
    )


def test_an_auditor_that_did_not_run_is_named_with_its_reason() -> None:
    privacy = Outcome(auditor="privacy", version="1", reason="no training data")
    found = assess(build_report(outcomes=(privacy,)), load_framework("nist-800-226"))
    assert {one.state for one in found.clauses} == {"human input required"}
    assert all("no training data" in " ".join(one.missing) for one in found.clauses)


def test_the_ledger_answers_what_sp_800_226_asks(census: Report) -> None:
    found = assess(census, load_framework("nist-800-226"))
    assert state(found, "SP 800-226", "Neighbouring") == "evidenced"
    assert state(found, "SP 800-226", "whole budget") == "partial"
    assert not [one for one in found.clauses if one.state == "human input required"]
    unstated = " ".join(" ".join(one.missing) for one in found.clauses)
    assert "Privacy ledger" not in unstated
    assert "privacy." not in unstated


@pytest.mark.parametrize("key", installed())
def test_no_row_of_a_framework_stands_twice(key: str) -> None:
    rows = [(clause.id, clause.topic) for clause in load_framework(key).clause]
    assert len(rows) == len(set(rows))


def test_whether_a_law_applies_is_asked_first_and_a_no_takes_its_rows_out(census: Report) -> None:
    law = load_framework("nyc-ll144")
    assert applicability(law, Facts()) == "asked"
    denied = Facts(answers={"ll144_employment_decision": "No."})
    assert {one.state for one in assess(census, law, denied).clauses} == {"not applicable"}
    assert "ll144_employment_decision" in assess(census, law, denied).clauses[0].missing[0]
    assert applicability(load_framework("iso-42001"), Facts()) == "not asked"


def test_only_a_plain_yes_or_no_answers_whether_a_law_applies(tmp_path: Path) -> None:
    assert {load_framework(key).question_fact for key in installed()} - {""} == set(YES_OR_NO)
    facts = tmp_path / "facts.toml"
    for word, answer in (("yes", "yes"), ("Yes.", "yes"), ("NO", "no"), ("todo", "asked")):
        facts.write_text(f'high_risk_system = "{word}"\n', encoding="utf-8")
        assert applicability(load_framework("eu-ai-act"), read_facts(facts)) == answer
    for written in ('"No, it only ranks."', '"not yet known"', "true"):
        facts.write_text(f"high_risk_system = {written}\n", encoding="utf-8")
        with pytest.raises(InputError, match='high_risk_system must be "yes" or "no"'):
            read_facts(facts)


def test_rules_for_generative_services_do_not_apply_to_a_classifier(census: Report) -> None:
    found = assess(census, load_framework("china-genai"), EVERY_FACT)
    assert {one.state for one in found.clauses} == {"not applicable"}


def test_evidence_points_at_the_number_it_speaks_of(census: Report) -> None:
    document = census.model_dump(mode="json", by_alias=True)
    for key in installed():
        for one in assess(census, load_framework(key)).clauses:
            for item in one.items:
                place = document
                for step in item.pointer.strip("/").split("/"):
                    place = place[int(step)] if isinstance(place, list) else place[step]
                if item.unit is not None:
                    assert place["id"] == item.name
                    assert place["value"] == item.value


def selection(by: tuple[str, ...], slices: dict[str, tuple[int, int]]) -> Measurement:
    parts = tuple(Slice(group=group(name), value=selected / n, count=n) for name, (selected, n) in slices.items())
    total = sum(n for _, n in slices.values())
    return Measurement(
        id="fairness.selection_rate", by=by, unit="rate", better="neither", count=total, definition="x", slices=parts
    )


def hiring(*measurements: Measurement, sensitive: tuple[str, ...] = ("gender", "race")) -> Report:
    report = build_report(outcomes=(Outcome(auditor="fairness", version="1", measurements=measurements),))
    data = report.subject.dataset.model_copy(update={"audited_row_count": 320})
    return report.model_copy(
        update={"subject": report.subject.model_copy(update={"sensitive": sensitive, "dataset": data})}
    )


def test_rows_of_categories_that_the_report_withholds_are_said() -> None:
    few = selection(("gender",), {"Female": (30, 100), "Male": (80, 200)})
    found = assess(hiring(few), load_framework("nyc-ll144"))
    assert found.impact is not None
    assert (found.impact.tables[0].withheld_count, found.impact.tables[0].applicant_count) == (20, 320)
    assert found.clauses[0].state == "partial"
    assert any("20 rows of categories that are too small" in text for text in found.clauses[0].missing)


SEX = selection(("gender",), {"Female": (30, 100), "Male": (80, 200), "(missing)": (1, 20)})
RACE = selection(("race",), {"Asian": (20, 40), "White": (90, 270), "Other": (2, 5), "Refused": (0, 5)})


def test_impact_ratios_are_made_from_the_report() -> None:
    found = assess(hiring(SEX, RACE), load_framework("nyc-ll144"))
    assert found.impact is not None
    by_sex = found.impact.tables[0]
    assert (by_sex.by, by_sex.unknown_count, by_sex.applicant_count) == (("gender",), 20, 320)
    assert [row.impact_ratio for row in by_sex.rows] == pytest.approx([0.75, 1.0])
    assert state(found, "6 RCNY 5-300 to 5-304: sex and race or ethnicity") == "human input required"


def test_of_weighted_rows_the_numbers_selected_are_left_out_and_the_ratios_stay() -> None:
    """A weighted rate times n is not how many were selected."""
    weighted = SEX.model_copy(
        update={"slices": tuple(part.model_copy(update={"effective_count": part.count / 2}) for part in SEX.slices)}
    )
    report = hiring(weighted)
    sampling = SamplingRecord(weight="w", row_count=320, effective_row_count=160.0)
    report = report.model_copy(update={"subject": report.subject.model_copy(update={"sampling": sampling})})
    found = assess(report, load_framework("nyc-ll144"))
    assert found.impact is not None
    table = found.impact.tables[0]
    assert [row.selected_count for row in table.rows] == [None, None]
    assert [row.impact_ratio for row in table.rows] == pytest.approx([0.75, 1.0])
    assert table.highest_rate == pytest.approx(0.4)
    assert any("numbers selected do not follow" in text for text in found.clauses[0].missing)
    pages = render_comply(report, found)
    assert all("Rates are weighted by w" in text for name, text in pages.items() if not name.endswith(".csv"))
    plain = assess(hiring(SEX), load_framework("nyc-ll144"))
    assert plain.impact is not None
    assert [row.selected_count for row in plain.impact.tables[0].rows] == [30, 80]


def test_people_may_name_columns_unknowns_and_left_out_categories() -> None:
    facts = Facts(answers={"ll144_race_column": "race"}, unknown=("Refused",), left_out=(("Other",),))
    found = assess(hiring(SEX, RACE), load_framework("nyc-ll144"), facts)
    assert found.impact is not None
    by_race = found.impact.tables[1]
    assert (by_race.unknown_count, [row.left_out for row in by_race.rows]) == (5, [False, False, True])
    small = next(one for one in found.clauses if "under 2 %" in one.clause.topic)
    assert small.state == "partial"
    assert any("Why Other is left out" in text for text in small.missing)
    stated = facts.model_copy(update={"answers": {**facts.answers, "ll144_left_out_reason": "five rows"}})
    after = assess(hiring(SEX, RACE), load_framework("nyc-ll144"), stated)
    assert next(one for one in after.clauses if "under 2 %" in one.clause.topic).state == "evidenced"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (Facts(answers={"ll144_sex_column": "gendr"}), "did you mean 'gender'"),
        (Facts(left_out=(("Othr",),)), "did you mean 'Other'"),
        (Facts(left_out=(("White",),)), "only a category under 2 %"),
    ],
)
def test_wrong_names_in_facts_are_refused(facts: Facts, words: str) -> None:
    with pytest.raises(InputError, match=words):
        assess(hiring(SEX, RACE), load_framework("nyc-ll144"), facts)


def test_without_such_columns_the_tables_are_missing_and_say_why() -> None:
    found = assess(hiring(SEX, sensitive=("x",)), load_framework("nyc-ll144"))
    assert found.impact is not None
    assert found.impact.tables == ()
    assert any("No column of the audit is known as sex" in text for text in found.clauses[0].missing)


def test_no_framework_speaks_of_passing_or_complying() -> None:
    for path in (ROOT / "auditkit/compliance").glob("*.toml"):
        text = path.read_text().lower()
        assert "complies" not in text, path.name
        assert "compliant" not in text, path.name


def test_the_template_states_nothing(tmp_path: Path) -> None:
    path = tmp_path / "facts.toml"
    path.write_text(facts_template())
    facts = read_facts(path)
    assert (facts.answers, facts.unknown, facts.left_out) == ({}, (), ())


def test_blank_answers_are_none_and_dates_are_text(tmp_path: Path) -> None:
    path = tmp_path / "facts.toml"
    path.write_text('owner = " TODO "\nprovider = "Acme"\nsignature_date = 2026-11-22\nll144_unknown = ["?"]\n')
    facts = read_facts(path)
    assert facts.answers == {"provider": "Acme", "signature_date": "2026-11-22"}
    assert facts.unknown == ("?",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('ownr = "x"', "did you mean 'owner'"),
        ("owner = 3", "owner must be text or a date, got 3"),
        ('ll144_unknown = "x"', "must be a list"),
        ("owner = ", "not valid TOML"),
    ],
)
def test_a_wrong_facts_file_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "facts.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_facts(path)


def test_unknown_framework() -> None:
    with pytest.raises(InputError, match="did you mean 'eu-ai-act'"):
        load_framework("eu-ai-ac")
