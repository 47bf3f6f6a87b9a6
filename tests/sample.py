"""A made-up report with one of everything: it exercises the renderers, its numbers mean nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sample_outcomes import HOSTILE, explainability, fairness, performance, privacy

from auditkit.evidence.judging import judge, unmeasured
from auditkit.evidence.measurement import (
    Measurement,
)
from auditkit.evidence.policy import Finding, Limit, Policy
from auditkit.evidence.records import DatasetRecord, Environment, ModelRecord, SubjectRecord
from auditkit.evidence.report import Outcome, Report


def limit(measurement: str, rationale: str = "A stated reason.", **more: Any) -> Limit:
    return Limit(measurement=measurement, rationale=rationale, **more)


LIMITS = (
    limit(
        "performance.accuracy",
        "Under 0.80 the model is no better than a rule of three columns.",
        at_least=0.8,
        clause="EU AI Act Art. 15(1)",
        line=4,
    ),
    limit(
        "performance.accuracy",
        "No group should be served much worse than the rest.",
        by="*",
        at_least=0.8,
        clause="EU AI Act Art. 13(3)(b)(v); NIST AI RMF MEASURE 2.11",
        line=9,
    ),
    limit(
        "performance.calibration_error",
        "A score that is read as a probability should not be off by much.",
        at_most=0.05,
        severity="warn",
        line=15,
    ),
    limit(
        "fairness.demographic_parity_difference",
        "Groups selected at rates over ten points apart call for an explanation.",
        by="*",
        at_most=0.1,
        clause="EU AI Act Art. 10(2)(f)-(g)",
        line=20,
    ),
    limit(
        "fairness.equalized_odds_difference",
        "People with the same label should not be selected at rates over ten points apart.",
        by="*",
        at_most=0.1,
        line=26,
    ),
    limit(
        "fairness.demographic_parity_ratio",
        "The four-fifths rule of thumb: a flag, not a verdict.",
        by=("sex",),
        at_least=0.8,
        severity="warn",
        clause="29 CFR 1607.4(D)",
        line=32,
    ),
    limit(
        "explainability.sensitive_attribution_share",
        "A model that owes over a tenth of its decisions to sensitive columns uses them directly.",
        at_most=0.1,
        line=38,
    ),
    limit("privacy.epsilon", "Above ten the formal guarantee says little.", at_most=10, by=("run",), line=44),
    limit(
        "robustness.flip_rate", "Rounding an input should not flip a decision.", at_most=0.02, optional=True, line=50
    ),
    limit("toxicity.rate", "No toxic text at all.", at_most=0.0, line=55),
)


NO_GRADIENTS = "the model file holds no gradients; pack it with its architecture"
CRASH = f"ValueError: {HOSTILE['script']} {HOSTILE['unbroken']}"


def findings_of(
    measurements: list[Measurement], auditor: str, reason: str = "the audit made no such measurement"
) -> tuple[Finding, ...]:
    found = []
    for one in LIMITS:
        if one.measurement.startswith(f"{auditor}."):
            judged = judge(one, measurements)
            found += judged or [unmeasured(one, reason)]
    return tuple(found)


def build_report(**changes: Any) -> Report:
    """Return the sample; `changes` replace fields of the report."""
    outcomes = []
    for auditor, make in (
        ("performance", performance),
        ("fairness", fairness),
        ("explainability", explainability),
        ("privacy", privacy),
    ):
        measurements, exhibits, notes = make()
        outcomes.append(
            Outcome(
                auditor=auditor,
                version="0.1.0",
                settings={"conf_level": 0.95, "min_group": 10, "columns": [f"c{i}" for i in range(100)]},
                seconds=3.21,
                measurements=tuple(measurements),
                findings=findings_of(measurements, auditor),
                exhibits=tuple(exhibits),
                notes=tuple(notes),
            )
        )
    outcomes.append(
        Outcome(
            auditor="robustness",
            version="0.1.0",
            reason=NO_GRADIENTS,
            findings=findings_of([], "robustness", NO_GRADIENTS),
        )
    )
    outcomes.append(
        Outcome(
            auditor="toxicity",
            version="9.9<script>",
            error=CRASH,
            findings=findings_of([], "toxicity", CRASH),
        )
    )
    drift = Measurement(
        id="drift.population_stability_index",
        value=0.034,
        unit="number",
        better="lower",
        count=16_281,
        definition="a third-party package",
    )
    outcomes.append(Outcome(auditor="drift", version="2.0", measurements=(drift,)))
    fields: dict[str, Any] = {
        "run_id": "01jd3k7e0q",
        "created": datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
        "subject": SubjectRecord(
            model=ModelRecord(
                path="models/income.pt",
                sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                name="income-mlp",
                kind="auditkit model file",
                trust="weights only: opening it ran no code",
                architecture="mlp",
                parameter_count=19_650,
            ),
            dataset=DatasetRecord(
                path="data/adult-test.csv",
                sha256="60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
                row_count=20_000,
                audited_row_count=16_281,
            ),
            training_dataset=DatasetRecord(
                path="data/adult-train.csv",
                sha256="fd61a03af04f77d870fc21e05e7e80678095c92d808cfb3b5c279ee04c74aca1",
                row_count=32_561,
                audited_row_count=32_561,
            ),
            notes=("A seeded sample of 16,281 of 20,000 rows (seed 7).", "The column 'id' was not used."),
            sensitive=("sex", "race", HOSTILE["script"]),
            schema={
                "target": "income",
                "task": "binary",
                "features": [{"name": f"column {i}"} for i in range(12)],
                "classes": ["<=50K", ">50K"],
            },
        ),
        "environment": Environment(
            auditkit="0.1.0",
            python="3.11.7",
            platform="Linux-6.1-x86_64",
            packages={"torch": "2.13.0", "fairlearn": "0.13.0", "captum": "0.8.0", "opacus": "1.5.4"},
            device="cpu",
            threads=2,
            seed=7,
            git_commit="4ce42c1d9e",
            git_dirty=True,
        ),
        "policy": Policy(
            name="house rules",
            source="policies/income.toml",
            sha256="a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3",
            limits=LIMITS,
        ),
        "outcomes": tuple(outcomes),
    }
    return Report(**{**fields, **changes})
