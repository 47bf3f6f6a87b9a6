"""The pages and exports beside the report card: valid by their published forms, harmless whatever the names."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from gallery import gallery_report
from keys import group

from auditkit.compliance.assess import assess
from auditkit.compliance.facts import Facts, known_facts
from auditkit.compliance.framework import installed, load_framework
from auditkit.errors import InputError
from auditkit.evidence.comparison import compare
from auditkit.evidence.measurement import Measurement, Slice
from auditkit.evidence.report import Outcome, Report
from auditkit.render import render
from auditkit.render.html.compare import render_compare
from auditkit.render.html.comply import COLUMNS, render_comply, safe_cell
from auditkit.render.html.index import Run, Unreadable, render_index

ROOT = Path(__file__).parents[3]
Build = Callable[..., Report]
EVIL = "=cmd|' /C calc'!A0</style><script>alert(1)</script>\u202e"


@pytest.fixture(scope="module")
def census() -> Report:
    return gallery_report("census")


@pytest.fixture
def evil(build_report: Build, hostile: dict[str, Any]) -> Report:
    """A report in which every text that comes from outside is hostile."""
    report = build_report()
    model = report.subject.model
    assert model is not None
    slices = tuple(
        Slice(group=group(f"{text} {n}"), value=0.5, count=50)
        for n, text in enumerate([EVIL, *(t for t in hostile.values() if isinstance(t, str))])
    )
    rates = Measurement(
        id="fairness.selection_rate",
        by=("sex",),
        unit="rate",
        better="neither",
        count=1000,
        definition=EVIL,
        slices=slices,
    )
    return report.model_copy(
        update={
            "run_id": EVIL,
            "policy": report.policy.model_copy(update={"name": EVIL, "source": EVIL}),
            "subject": report.subject.model_copy(
                update={
                    "model": model.model_copy(update={"name": EVIL, "path": EVIL}),
                    "dataset": report.subject.dataset.model_copy(update={"path": EVIL}),
                    "sensitive": ("sex", EVIL),
                }
            ),
            "outcomes": (*report.outcomes, Outcome(auditor="fairness", version=EVIL, measurements=(rates,))),
        }
    )


class Elements(HTMLParser):
    """The elements of a page, and their attributes; an end tag that fits nothing is an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.ids += [value or "" for name, value in attrs if name == "id"]


def pages(report: Report) -> dict[str, str]:
    facts = Facts(source=EVIL, sha256="0" * 64, answers=dict.fromkeys(known_facts()[:40], EVIL))
    facts = facts.model_copy(
        update={"answers": {key: text for key, text in facts.answers.items() if not key.startswith("ll144")}}
    )
    made = {"compare.html": render_compare(compare(report, report))}
    made["index.html"] = render_index([Run(report, "a%20b/", True)], [Unreadable(EVIL, EVIL)])
    for key in installed():
        made |= render_comply(report, assess(report, load_framework(key), facts))
    return made


def test_hostile_names_do_no_harm_on_any_page(evil: Report) -> None:
    for name, page in pages(evil).items():
        assert "\u202e" not in page, name
        if not name.endswith(".html"):
            continue
        elements = Elements(page)
        assert not elements.names & {"script", "iframe", "img", "object", "form", "base"}, name
        assert not [one for one in elements.attributes if one.startswith("on")], name
        assert not [link for link in elements.links if re.match(r"[a-z]+:|//", link)], name
        assert len(elements.ids) == len(set(elements.ids)), name
        assert page.count("<style>") == page.count("</style>") == 1, name
        assert "default-src 'none'" in page


def test_hostile_names_do_no_harm_in_markdown(evil: Report) -> None:
    for name, text in {**pages(evil), **render(evil, ["model-card"])}.items():
        if name.endswith(".md"):
            assert isinstance(text, str)
            body = text.partition("---\n")[2].partition("---\n")[2] if text.startswith("---") else text
            assert "<script>" not in body, name
            rows = [line for line in body.splitlines() if line.startswith("|")]
            widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows if row.startswith("| **")}
            assert widths <= {5}, name


def test_no_cell_of_a_csv_is_a_formula(evil: Report) -> None:
    for name, text in pages(evil).items():
        if not name.endswith(".csv"):
            continue
        rows = list(csv.reader(io.StringIO(text)))
        assert rows[0] == list(COLUMNS)
        assert {len(row) for row in rows} == {len(COLUMNS)}
        for row in rows:
            for cell in row:
                if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
                    float(cell)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


def test_the_same_report_gives_the_same_bytes(census: Report) -> None:
    assert pages(census) == pages(census)
    formats = ["model-card", "cyclonedx", "in-toto", "ai-verify"]
    assert render(census, formats) == render(census, formats)


def test_every_page_stays_small_and_never_says_that_a_law_is_complied_with(census: Report) -> None:
    for name, page in pages(census).items():
        assert len(page.encode()) < 1_000_000, name
        assert not re.search(r"\bcompl(ies|iant)\b|LL144 pass", page), name


def test_the_csv_holds_every_group_of_the_evidence(census: Report) -> None:
    act = load_framework("eu-ai-act")
    rows = list(csv.DictReader(io.StringIO(render_comply(census, assess(census, act))["comply-eu-ai-act.csv"])))
    rates = census.measurement("fairness.selection_rate", ("race",))
    assert rates is not None
    clause = [row for row in rows if row["clause"] == "Art. 10(2)(e)-(h)" and row["by"] == "race"]
    said = {row["group"]: row["value"] for row in clause if row["name"] == "fairness.selection_rate" and row["group"]}
    assert said == {part.group.text: str(part.value) for part in rates.slices}
    assert {row["state"] for row in rows} == {"evidenced", "partial", "human input required"}


def test_links_lead_to_the_cards_of_the_report(census: Report) -> None:
    page = render_comply(census, assess(census, load_framework("eu-ai-act")), beside="../run/")["comply-eu-ai-act.html"]
    anchors = {link.partition("#")[2] for link in Elements(page).links if "report.html#" in link}
    assert anchors
    assert anchors <= set(Elements(str(render(census, ["html"])["report.html"])).ids)
    assert "../run/report.html#auditor-" in page


def test_what_people_have_to_state_stands_at_the_head_of_a_table_with_the_commands(census: Report) -> None:
    act = load_framework("eu-ai-act")
    bare = render_comply(census, assess(census, act), beside="../run/")
    asked = {key for clause in act.clause for key in clause.facts}
    waiting = sum(bool(clause.facts) for clause in act.clause)
    missing = (
        f"{len(asked)} statements are still needed from your organisation, for {waiting} of {len(act.clause)} clauses"
    )
    for name, end in (("comply-eu-ai-act.html", "</header>"), ("comply-eu-ai-act.md", "| Clause |")):
        head = bare[name].partition(end)[0]
        assert missing in head
        assert "auditkit comply --init-facts facts.toml" in head
        assert "auditkit comply ../run/results.json --framework eu-ai-act --facts facts.toml" in head
    assert all(key in bare["comply-eu-ai-act.html"] for key in asked)

    but_one = {key: "said" for key in asked if key != "harms"}
    nearly = render_comply(census, assess(census, act, Facts(answers=but_one, source="our facts.toml")))
    assert "1 statement is still needed from your organisation" in nearly["comply-eu-ai-act.md"]
    assert "--init-facts" not in nearly["comply-eu-ai-act.md"]
    assert "--facts 'our facts.toml'" in nearly["comply-eu-ai-act.md"]
    full = render_comply(census, assess(census, act, Facts(answers=dict.fromkeys(asked, "said"), source="facts.toml")))
    assert not any("still needed" in text for text in full.values())


def test_the_key_to_the_states_uses_the_words_of_the_rows(census: Report) -> None:
    page = render_comply(census, assess(census, load_framework("eu-ai-act")))["comply-eu-ai-act.html"]
    about = page.partition('id="about"')[2].partition("</section>")[0]
    assert all(word in about for word in ("Evidence exists", "Some evidence", "Your input needed"))
    assert "Human input required" not in page


def test_the_bill_of_materials_is_valid_cyclonedx(census: Report, evil: Report, report: Report) -> None:
    for one in (census, evil, report):
        text = str(render(one, ["cyclonedx"])["bom.cdx.json"])
        assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text) is None
    bom = json.loads(render(census, ["cyclonedx"])["bom.cdx.json"])
    (component,) = bom["components"]
    assert component["type"] == "machine-learning-model"
    assert census.subject.model is not None
    assert component["hashes"] == [{"alg": "SHA-256", "content": census.subject.model.sha256}]
    metrics = component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    female = [m for m in metrics if m["type"] == "fairness.selection_rate" and m.get("slice") == "sex: Female"]
    rates = census.measurement("fairness.selection_rate", ("sex",))
    assert rates is not None
    assert float(female[0]["value"]) == rates.slices[0].value
    harms = component["modelCard"]["considerations"]["fairnessAssessments"]
    assert harms[0]["groupAtRisk"].startswith("Female")


def test_a_bill_of_materials_without_a_model_is_refused(report: Report) -> None:
    decisions = report.model_copy(update={"subject": report.subject.model_copy(update={"model": None})})
    with pytest.raises(InputError, match="needs a model"):
        render(decisions, ["cyclonedx"])


# The statement layer v1 and the predicate test-result v0.1 of in-toto/attestation, in JSON Schema's words.
DIGEST = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string", "pattern": "^[0-9a-f]{64}$"}}
DESCRIPTOR = {"type": "object", "required": ["digest"], "properties": {"name": {"type": "string"}, "digest": DIGEST}}
NAMES = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
STATEMENT = {
    "type": "object",
    "required": ["_type", "subject", "predicateType", "predicate"],
    "additionalProperties": False,
    "properties": {
        "_type": {"const": "https://in-toto.io/Statement/v1"},
        "subject": {"type": "array", "minItems": 1, "items": DESCRIPTOR},
        "predicateType": {"const": "https://in-toto.io/attestation/test-result/v0.1"},
        "predicate": {
            "type": "object",
            "required": ["result", "configuration"],
            "additionalProperties": False,
            "properties": {
                "result": {"enum": ["PASSED", "WARNED", "FAILED"]},
                "configuration": {"type": "array", "items": DESCRIPTOR},
                "url": {"type": "string"},
                "passedTests": NAMES,
                "warnedTests": NAMES,
                "failedTests": NAMES,
            },
        },
    },
}


def test_the_attestation_has_the_predicates_form(census: Report, report: Report, evil: Report) -> None:
    for one in (census, report, evil):
        statement = json.loads(render(one, ["in-toto"])["test-result.intoto.json"])
        jsonschema.validate(statement, STATEMENT)
        assert one.subject.model is not None
        assert statement["subject"][0]["digest"]["sha256"] == one.subject.model.sha256
        predicate = statement["predicate"]
        assert predicate["result"] == "FAILED"
        names = [name for key in ("passedTests", "warnedTests", "failedTests") for name in predicate[key]]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("verdict", "strict", "result"),
    [
        ("pass", False, "PASSED"),
        ("warn", False, "WARNED"),
        ("inconclusive", False, "WARNED"),
        ("inconclusive", True, "FAILED"),
        ("waived", False, "WARNED"),
        ("error", False, "FAILED"),
        ("not_run", False, "FAILED"),
        ("fail", False, "FAILED"),
    ],
)
def test_what_is_not_a_pass_is_not_attested_as_one(verdict: Any, strict: bool, result: str) -> None:
    from auditkit.render.exports.intoto import _result

    assert _result(verdict, strict=strict) == result


def test_nothing_from_memory_is_attested(report: Report) -> None:
    model = report.subject.model
    assert model is not None
    subject = report.subject.model_copy(update={"model": model.model_copy(update={"sha256": None})})
    with pytest.raises(InputError, match="came from memory"):
        render(report.model_copy(update={"subject": subject}), ["in-toto"])


# The constraints of aiverify.testresult.schema.json in AI Verify's test engine.
NAME = {"type": "string", "pattern": "^[a-zA-Z0-9][a-zA-Z0-9-._]*$", "minLength": 1, "maxLength": 128}
TEST_RESULT = {
    "type": "object",
    "required": ["gid", "cid", "startTime", "timeTaken", "testArguments", "output"],
    "properties": {
        "gid": NAME,
        "cid": NAME,
        "version": {"type": "string"},
        "startTime": {"type": "string", "format": "date-time"},
        "timeTaken": {"type": "number"},
        "testArguments": {
            "type": "object",
            "required": ["testDataset", "mode", "modelType"],
            "properties": {
                "testDataset": {"type": "string", "format": "uri"},
                "mode": {"enum": ["upload", "api"]},
                "modelType": {"enum": ["classification", "regression"]},
                "groundTruthDataset": {"type": "string", "format": "uri"},
                "groundTruth": {"type": "string"},
                "modelFile": {"type": "string", "format": "uri"},
            },
            "dependentRequired": {"groundTruthDataset": ["groundTruth"]},
        },
        "artifacts": {"type": "array", "items": {"type": "string"}},
    },
}


def test_the_test_result_has_ai_verifys_form(census: Report, evil: Report) -> None:
    checker = jsonschema.FormatChecker(formats=("uri", "date-time"))
    for one in (census, evil):
        result = json.loads(render(one, ["ai-verify"])["ai-verify.json"])
        jsonschema.validate(result, TEST_RESULT, cls=jsonschema.Draft202012Validator, format_checker=checker)
        made = sum(len(outcome.measurements) for outcome in one.outcomes)
        assert len(result["output"]["measurements"]) == made


def test_the_model_cards_head_is_what_the_hub_reads(census: Report, evil: Report) -> None:
    for one in (census, evil):
        card = str(render(one, ["model-card"])["model-card.md"])
        head = yaml.safe_load(card.split("\n---\n")[0].removeprefix("---\n"))
        (entry,) = head["model-index"]
        (result,) = entry["results"]
        assert result["task"]["type"] in ("tabular-classification", "tabular-regression")
        assert isinstance(result["dataset"]["name"], str)
        assert result["dataset"]["type"]
        for metric in result["metrics"]:
            assert isinstance(metric["type"], str)
            assert isinstance(metric["value"], float | int), metric
    accuracy = census.measurement("performance.accuracy")
    assert accuracy is not None
    card = str(render(census, ["model-card"])["model-card.md"])
    head = yaml.safe_load(card.split("\n---\n")[0].removeprefix("---\n"))
    assert head["model-index"][0]["results"][0]["metrics"][0] == {
        "type": "accuracy",
        "name": "Accuracy",
        "value": accuracy.value,
    }
    assert "[More Information Needed]" in card


def test_a_small_number_stays_a_number_in_yaml(build_report: Build) -> None:
    small = Measurement(
        id="performance.log_loss", value=1e-07, unit="nats", better="lower", count=10, definition="x", interval=None
    )
    report = build_report(outcomes=(Outcome(auditor="performance", version="1", measurements=(small,)),))
    card = str(render(report, ["model-card"])["model-card.md"])
    head = yaml.safe_load(card.split("\n---\n")[0].removeprefix("---\n"))
    assert head["model-index"][0]["results"][0]["metrics"][0]["value"] == 1e-07


def test_the_index_lists_runs_newest_first_and_what_it_cannot_read(census: Report) -> None:
    older = census.model_copy(update={"run_id": "older", "created": census.created.replace(year=2025)})
    page = render_index([Run(census, "new/", True), Run(older, "old/", False)], [Unreadable("x/results.json", "torn")])
    assert page.index('href="new/report.html"') < page.index('href="old/results.json"')
    assert "x/results.json" in page
    assert "torn" in page
    assert "2 runs of 1 model." in page
    panels = sum(m.value is not None for outcome in census.outcomes for m in outcome.measurements)
    assert page.count('class="spark"') == panels


def test_the_comparison_leads_with_what_the_data_settle(census: Report) -> None:
    place = next(index for index, outcome in enumerate(census.outcomes) if outcome.auditor == "performance")
    outcome = census.outcomes[place]
    model = outcome.measurements[0]
    assert model.id == "performance.accuracy"
    assert model.value is not None
    assert model.interval is not None
    shift = {"low": model.interval.low - 0.2, "high": model.interval.high - 0.2}
    worse = model.model_copy(update={"value": model.value - 0.2, "interval": model.interval.model_copy(update=shift)})
    outcomes = list(census.outcomes)
    outcomes[place] = outcome.model_copy(update={"measurements": (worse, *outcome.measurements[1:])})
    after = census.model_copy(update={"outcomes": tuple(outcomes)})
    page = render_compare(compare(census, after))
    assert "Of " in page
    assert 'class="reading worse"' in page
    assert "-20.0 points" in page


def test_a_model_card_names_the_library_only_where_there_is_one(census: Report) -> None:
    model = census.subject.model
    assert model is not None

    def library(kind: str | None, parameters: int = 0) -> str | None:
        known = None if kind is None else model.model_copy(update={"kind": kind, "parameter_count": parameters})
        report = census.model_copy(update={"subject": census.subject.model_copy(update={"model": known})})
        card = str(render(report, ["model-card"])["model-card.md"])
        found: str | None = yaml.safe_load(card.split("\n---\n")[0].removeprefix("---\n")).get("library_name")
        return found

    assert library(model.kind, model.parameter_count) == "pytorch"
    assert library("Hugging Face", 5) == "transformers"
    assert library("skops") == "sklearn"
    assert library("LGBMClassifier") is None
    assert library(None) is None, "recorded decisions"
