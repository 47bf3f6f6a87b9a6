from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keys import group

from auditkit.evidence.measurement import Curve, Detectable, Interval, Line, Measurement, Slice, SliceChart
from auditkit.evidence.policy import Finding, Limit
from auditkit.render.html.charts import (
    ROWS_SHOWN,
    curve_chart,
    drawn_slices,
    omitted_slices,
    slices_chart,
    strip,
    strip_marks,
    strip_scale,
    ticks,
)
from auditkit.render.html.detectable import reference_of
from auditkit.render.text import shorten


def measurement(*slices: Slice, unit: str = "rate") -> Measurement:
    return Measurement(id="a.b", by=("g",), unit=unit, better="lower", count=100, slices=slices, definition="s")


def part(name: str, value: float | None, **more: object) -> Slice:
    return Slice(group=group(name), value=value, count=50, **more)


def around(value: float, half: float) -> Interval:
    return Interval(low=value - half, high=value + half, level=0.95, method="m")


def percent(text: str) -> float:
    return float(text.removesuffix("%"))


@given(
    st.floats(min_value=-1e6, max_value=1e6, allow_nan=False),
    st.floats(min_value=1e-6, max_value=1e6, allow_nan=False),
)
def test_ticks_cover_the_data_evenly(low: float, width: float) -> None:
    high = low + width
    marks = ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), width)
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack
    assert 2 <= len(marks) <= 8
    steps = [b - a for a, b in pairwise(marks)]
    assert max(steps) - min(steps) <= 1e-6 * max(steps) + slack


def test_a_dot_stands_where_its_value_is() -> None:
    svg = ElementTree.fromstring(
        slices_chart(measurement(part("low", 0.0), part("high", 1.0), part("mid", 0.25), unit="number"), heading="h")
    )
    dots = [percent(dot.get("cx", "")) for dot in svg.iter("circle")]
    assert dots == [99.0, 25.5, 1.0]  # highest first; 1 % to 99 % of the width for 0 to 1


def test_the_intervals_and_the_limit_stand_where_they_are() -> None:
    one = part("x", 0.5, interval=around(0.5, 0.1), simultaneous_interval=around(0.5, 0.5))
    limit = Limit(measurement="a.b", at_most=0.2, rationale="r")
    svg = ElementTree.fromstring(slices_chart(measurement(one, unit="number"), heading="h", limit=limit, overall=0.4))

    def ends(kind: str) -> tuple[float, float]:
        line = next(line for line in svg.iter("line") if line.get("class") == kind)
        return percent(line.get("x1", "")), percent(line.get("x2", ""))

    assert ends("interval") == pytest.approx((40.2, 59.8))
    assert ends("simultaneous") == pytest.approx((1.0, 99.0))
    assert ends("limit") == pytest.approx((20.6, 20.6))
    assert ends("overall") == pytest.approx((40.2, 40.2))
    allowed = next(rect for rect in svg.iter("rect") if rect.get("class") == "allowed")
    assert (percent(allowed.get("x", "")), percent(allowed.get("width", ""))) == pytest.approx((1.0, 19.6))


@pytest.mark.parametrize("unit", ["share", "rate"])
def test_shares_and_rates_are_bars_from_zero(unit: str) -> None:
    svg = ElementTree.fromstring(slices_chart(measurement(part("a", 0.4), part("b", 0.2), unit=unit), heading="h"))
    bars = [rect for rect in svg.iter("rect") if rect.get("class") == "bar"]
    widths = [percent(bar.get("width", "")) for bar in bars]
    assert len(bars) == 2
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.02)
    assert {bar.get("x") for bar in bars} == {"1%"}


def test_a_slice_without_a_value_is_named_with_its_reason_and_not_drawn() -> None:
    some = measurement(part("a", 0.1), part("b", None, reason="no positives"), part("c", None, reason="no positives"))
    assert [one.group.text for one in drawn_slices(some)] == ["a"]
    assert omitted_slices(some) == ["Not shown: b (n = 50), c (n = 50): no positives."]
    assert slices_chart(measurement(part("b", None, reason="r")), heading="h") == ""


def test_of_too_many_slices_both_ends_are_drawn_and_that_is_said() -> None:
    many = measurement(*(part(f"g{i}", i / 100) for i in range(100)))
    names = [one.group.text for one in drawn_slices(many)]
    assert len(names) == ROWS_SHOWN
    assert (names[0], names[-1]) == ("g99", "g0")
    assert "20 highest and the 20 lowest of 100 values" in omitted_slices(many)[0]


def test_a_curve_passes_through_its_points() -> None:
    line = Line(name="l", x=(0.0, 0.5, 1.0), y=(0.0, 0.25, 1.0), low=(0.0, 0.2, 0.9), high=(0.1, 0.3, 1.0))
    curve = Curve(title="t", x_label="x", y_label="y", identity=True, lines=(line,))
    svg = ElementTree.fromstring(curve_chart(curve))
    assert next(svg.iter("polyline")).get("points") == "0,1000 500,750 1000,0"
    assert next(svg.iter("polygon")).get("points") == "0,900 500,700 1000,0 1000,100 500,800 0,1000"
    assert [percent(dot.get("cx", "")) for dot in svg.iter("circle")] == [11.0, 54.0, 97.0]


def test_a_chart_has_a_name_a_description_and_the_role_of_an_image() -> None:
    line = Line(name="l", x=(1.0, 2.0), y=(0.5, 0.7))
    for text in (
        slices_chart(measurement(part("a", 0.1)), heading="Rates"),
        curve_chart(Curve(title="Rates", x_label="x", y_label="y", lines=(line,))),
    ):
        svg = ElementTree.fromstring(text)
        assert svg.get("role") == "img"
        assert [child.tag for child in svg][:2] == ["title", "desc"]
        assert svg[0].text == "Rates"


def test_hostile_names_stay_text(hostile: dict[str, str]) -> None:
    parts = [part(name, 0.1) for name in hostile.values()]
    lines = tuple(Line(name=name, x=(0.0, 1.0), y=(0.0, 1.0)) for name in hostile.values())
    for text in (
        slices_chart(measurement(*parts), heading=hostile["script"]),
        curve_chart(
            Curve(title=hostile["style"], x_label=hostile["attribute"], y_label=hostile["control"], lines=lines)
        ),
    ):
        tags = {element.tag for element in ElementTree.fromstring(text).iter()}
        assert tags <= {"svg", "title", "desc", "g", "line", "rect", "circle", "text", "tspan", "polyline", "polygon"}
        assert not re.search(r"[\x00\x1b\u202e]", text)


def test_curves_without_points_and_with_one_point_are_drawn_or_left_out() -> None:
    assert curve_chart(Curve(title="t", x_label="x", y_label="y", lines=())) == ""
    assert curve_chart(Curve(title="t", x_label="x", y_label="y", lines=(Line(name="l", x=(), y=()),))) == ""
    ElementTree.fromstring(
        curve_chart(Curve(title="t", x_label="x", y_label="y", lines=(Line(name="l", x=(3.0,), y=(2.0,)),)))
    )


def found(value: float, interval: Interval | None, **bound: float) -> Finding:
    limit = Limit(measurement="a.b", rationale="r", **bound)
    return Finding(measurement="a.b", value=value, interval=interval, limit=limit, verdict="fail", message="m")


@pytest.mark.parametrize(("bound", "left", "right"), [({"at_most": 0.1}, 2.0, 50.0), ({"at_least": 0.1}, 50.0, 98.0)])
def test_a_strip_shades_the_side_that_the_limit_allows(bound: dict[str, float], left: float, right: float) -> None:
    svg = ElementTree.fromstring(strip(found(0.1, around(0.1, 0.05), **bound), [0.0, 0.1, 0.2]))
    allowed = next(svg.iter("rect"))
    assert percent(allowed.get("x", "")) == left
    assert percent(allowed.get("x", "")) + percent(allowed.get("width", "")) == right
    assert svg.get("aria-hidden") == "true"


def test_a_strip_of_a_value_on_its_limit_without_an_interval_is_drawn() -> None:
    one = found(0.0, None, at_most=0.0)
    ElementTree.fromstring(strip(one, strip_marks([one], "rate_difference")))


def test_the_strips_of_one_limit_share_a_scale_that_holds_zero_and_states_its_unit() -> None:
    findings = [found(0.2, around(0.2, 0.01), at_most=0.1), found(0.29, around(0.29, 0.05), at_most=0.1)]
    marks = strip_marks(findings, "rate_difference")
    assert (marks[0], marks[-1]) == (0.0, 0.4)
    assert re.findall(">([^<]+)</text>", strip_scale(marks, "rate_difference", str)) == ["0", "40 points"]
    # Of a bound from below, some of the side that it allows is on the scale.
    assert strip_marks([found(0.2, None, at_least=0.8)], "ratio")[-1] > 0.8


def test_long_tick_labels_are_thinned_and_the_unit_stays() -> None:
    parts = measurement(part("a", 0.8485), part("b", 0.8605), unit="rate_difference")
    svg = ElementTree.fromstring(slices_chart(parts, heading="h"))
    labels = [text.text for text in svg.iter("text") if text.get("class") == "tick"]
    assert labels == ["84.75", "85.25", "85.75", "86.25 %"]


def test_logarithmic_axes_have_one_mark_a_decade_and_points_between_them() -> None:
    line = Line(name="attack", x=(0.001, 0.01, 1.0), y=(0.01, 0.1, 1.0))
    curve = Curve(title="t", x_label="x", y_label="y", x_unit="rate", y_unit="rate", scale="log", lines=(line,))
    svg = ElementTree.fromstring(curve_chart(curve))
    marks = [element.text for element in svg.iter("text") if element.get("class") == "tick"]
    assert marks == ["1", "10", "100", "0.1", "1", "10", "100"]
    across = [percent(dot.get("cx", "")) for dot in svg.iter("circle")]
    assert across[1] - across[0] == pytest.approx((across[2] - across[0]) / 3, abs=0.02)
    up = [float(dot.get("cy", "")) for dot in svg.iter("circle")]
    assert up[0] - up[1] == pytest.approx((up[0] - up[2]) / 2, abs=0.2)
    assert "0.1 %, 1.0 %" in curve_chart(curve)


def test_logarithmic_axes_refuse_zero() -> None:
    line = Line(name="attack", x=(0.0, 1.0), y=(0.1, 1.0))
    with pytest.raises(ValueError, match="above 0"):
        Curve(title="t", x_label="x", y_label="y", scale="log", lines=(line,))


def test_zeros_can_be_left_out_and_are_counted() -> None:
    some = measurement(part("a", 0.0), part("b", 0.1), part("c", 0.0))
    assert [one.group.text for one in drawn_slices(some, zeros=False)] == ["b"]
    assert omitted_slices(some, zeros=False) == ["2 of 3 values are zero and not drawn; the table lists all."]
    assert omitted_slices(some) == []


def test_a_long_name_is_there_in_both_lengths_and_a_short_one_once() -> None:
    long = "marital_status = Married-civ-spouse and sex = F"
    chart = slices_chart(measurement(part(long, 0.2), part("Male", 0.1)), heading="h")
    texts = re.findall(r'<text[^>]* y="15">(.*?)</text>', chart)
    assert texts == [shorten(long, 30), long, "Male"]


def test_ceilings_are_marked_at_their_slices() -> None:
    several = measurement(part("a", 0.4), part("b", 0.2), unit="rate")
    ceilings = {several.slices[0].group: 0.8}
    svg = slices_chart(several, heading="h", ceilings=ceilings)
    assert svg.count('class="ceiling"') == 1
    assert 'class="ceiling"' not in slices_chart(several, heading="h")


def test_the_line_of_no_difference_and_what_is_detectable_stand_where_they_are() -> None:
    given = measurement(
        part("a", 0.4, interval=around(0.4, 0.3)), part("b", -0.2, interval=around(-0.2, 0.1)), unit="nats"
    )
    exhibit = SliceChart(
        title="t", measurement="a.b", by=("g",), centre=0.0, detectable=(Detectable(key=("a",), size=0.5),)
    )
    reference = reference_of(exhibit)
    svg = ElementTree.fromstring(slices_chart(given, heading="h", reference=reference))
    (centre,) = (line for line in svg.iter() if line.get("class") == "centre")
    marks = [line for line in svg.iter() if line.get("class") == "detectable"]
    ticks_drawn = sorted(percent(line.attrib["x1"]) for line in svg.iter() if line.get("class") == "grid")
    assert len(marks) == 3, "a bracket under the row whose detectable effect is known"
    middle, low, high = percent(centre.attrib["x1"]), *(percent(marks[0].attrib[side]) for side in ("x1", "x2"))
    assert middle == pytest.approx((low + high) / 2, abs=0.05)
    # The axis reaches the marks, and a unit is as wide beside the line as between the ticks.
    assert ticks_drawn[0] <= low < middle < high <= ticks_drawn[-1]
    steps = len(ticks_drawn) - 1
    assert steps >= 2
    described = svg.find("desc")
    assert described is not None
    assert "(detectable from 0.5" in str(described.text)
    assert reference_of(SliceChart(title="t", measurement="a.b")) is None
