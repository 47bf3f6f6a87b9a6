"""Audits in tests: an assertion that says which limits were not met.

>>> def test_the_model_may_ship():  # doctest: +SKIP
...     assert_passes(auditkit.audit("model.pt", "test.csv", policy="policy.toml"))
"""

from __future__ import annotations

from auditkit.evidence.report import Report


def assert_passes(report: Report, *, strict: bool = False) -> None:
    """Raise AssertionError with a sentence for each finding that stops a release; pass where `gate` would exit 0.

    With `strict`, a finding that the data do not settle stops it too, as `auditkit gate --strict` has it.
    """
    __tracebackhide__ = True
    stopping = {"fail", "error"} | ({"inconclusive"} if strict else set())
    lines = [f"{outcome.auditor}: {outcome.error}" for outcome in report.outcomes if outcome.error is not None]
    lines += [str(finding.message) for finding in report.findings if finding.verdict in stopping]
    if report.verdict == "not_run":
        lines.append("No limit was judged: the policy limits nothing that was measured.")
    if lines or report.exit_code:
        raise AssertionError("\n".join([f"auditkit: verdict {report.verdict}", *(f"  - {line}" for line in lines)]))
