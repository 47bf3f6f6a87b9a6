"""What an audit finds out: measurements (numbers with their uncertainty) and exhibits (data behind pictures)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from auditkit.evidence.messages import Text
from auditkit.evidence.scalars import Count, Flag, Number, PositiveNumber, WholeNumber

Better = Literal["lower", "higher", "neither"]
"""The direction in which a measurement improves; `neither` where the number only describes."""

Unit = Literal["rate", "rate_difference", "ratio", "share", "nats", "rows", "count", "epsilon", "number"]
"""How a value is read and printed.

`rate` and `share` are shown in percent, `rate_difference` in percentage points, `ratio` and `number` as
they are, `nats` for a log loss, `rows` for a number of rows, `count` for one of other things, `epsilon` for a
privacy loss.
"""


JOINT = " & "
"""What stands between columns, or a group's values, where people read them."""


class Record(BaseModel):
    """A frozen piece of the report: unknown keys are refused, NaN and Infinity cannot enter."""

    # Built when first used: a run has few of the many kinds.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    def __dir__(self) -> list[str]:
        """List the names of auditkit's own, so that tab completion shows no method of the framework."""
        return sorted({*type(self).model_fields, *(set(super().__dir__()) - set(dir(BaseModel)))})


def first_problem(error: ValidationError) -> tuple[str, str]:
    """Return where the first problem of a record lies, "" for the record as a whole, and what it is.

    >>> try:
    ...     Interval(low=2, high=1, level=0.95, method="Wilson")
    ... except ValidationError as error:
    ...     first_problem(error)
    ('', 'interval: low 2.0 is above high 1.0')
    """
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")


class Interval(Record):
    """A confidence interval: `low` <= `high`, the nominal `level` in (0, 1), and the `method` by name."""

    low: Number
    high: Number
    level: Annotated[Number, Field(gt=0, lt=1)]
    method: Text

    @model_validator(mode="after")
    def _ordered(self) -> Interval:
        if self.low > self.high:
            raise ValueError(f"interval: low {self.low!r} is above high {self.high!r}")
        return self


class Group(Record):
    """A group of rows: the columns that it is told by, and its value in each.

    Groups are matched as values, never by a text: `Group(by=("sex", "race"), key=("F", "Black"))` is the group of
    Black women whatever else a value holds. What is sliced by something other than rows (the columns of a data set,
    the retrainings of a model) is keyed in the same way.
    """

    by: Annotated[tuple[str, ...], Field(min_length=1)]
    key: tuple[str, ...]

    @model_validator(mode="after")
    def _one_value_a_column(self) -> Group:
        if len(self.key) != len(self.by):
            raise ValueError(f"group: {len(self.key)} values for {len(self.by)} columns")
        return self

    @property
    def text(self) -> str:
        """The group as a reader sees it."""
        return shown(self.key)


def shown(parts: Sequence[str]) -> str:
    """Return columns, or a group's values, as a reader sees them; a text for people, never a key.

    A value that could be taken for two stands in quotation marks, so that different groups are shown differently.

    >>> shown(("Female", "Asian")), shown(("R & D", "Q"))
    ('Female & Asian', '"R & D" & Q')
    """
    return JOINT.join(quoted(parts))


def quoted(parts: Sequence[str]) -> list[str]:
    """Return the parts of a text that `shown` joins: those that could be taken for two in quotation marks."""
    if len(parts) == 1:
        return list(parts)
    return ['"' + part.replace('"', '""') + '"' if JOINT in f" {part} " or '"' in part else part for part in parts]


class Slice(Record):
    """One group's part of a measurement.

    `interval` holds for this group alone; `simultaneous_interval` is wider, and holds for all groups of the
    measurement at once: it is the one that a limit over many groups is judged by. A value of None says why
    in `reason`. `effective_count`, `replicates` and `one_record` are as in a Measurement.
    """

    group: Group
    value: Number | None
    count: WholeNumber
    effective_count: PositiveNumber | None = None
    interval: Interval | None = None
    simultaneous_interval: Interval | None = None
    replicates: tuple[Number, ...] = ()
    one_record: PositiveNumber | None = None
    reason: Text | None = None

    @model_validator(mode="after")
    def _explained(self) -> Slice:
        if self.value is None and not self.reason:
            raise ValueError(f"slice {self.group.text!r}: a value of None needs a reason")
        return self


class Pair(Record):
    """The two groups that a gap lies between: whose `rate`, of how many records it is true, and their own interval.

    `successes` are those of the group with the lowest and of the one with the highest rate. `weighted` are the two
    rates where rows have weights, by which they differ from those of the counts. `interval` is that of the difference
    or the ratio of these two groups alone, chosen before the data were seen; a gap is judged by the measurement's
    interval, which holds for the largest gap between any two groups.
    """

    rate: str
    successes: tuple[WholeNumber, WholeNumber]
    weighted: tuple[Number, Number] | None = None
    interval: Interval

    def rates(self, counts: tuple[int, int]) -> tuple[float, float]:
        """Return the two rates: weighted where rows have weights, else the successes over their `counts`, above 0."""
        return self.weighted or (self.successes[0] / counts[0], self.successes[1] / counts[1])


class Measurement(Record):
    """One number with its unit, direction, count, interval, slices and definition; or no number and the reason why.

    `id` is `auditor.metric_in_full`, and never changes its meaning. `by` names the columns that the value
    is broken down by; each slice is then one group. For a gap between groups `compared` names the group with
    the lowest and the one with the highest value, `compared_counts` their numbers of rows, and `pair` their rates.
    `count` is the number of rows that the value rests on, of all groups; of what else it counts, such as words,
    `counted` has the name in the plural. `effective_count` is the number of independent
    rows that would know as much, where the value allows for weights or clusters of rows; the design effect is `count`
    over it.
    `replicates` are the values with one block of rows left out each, where they were computed: two models' on the
    same rows are pairs (auditkit.stats.jackknife). `one_record` is the most that another outcome of one record could
    change the value, where that is known: a rate's is one over its trials. `definition` says what the number is and by
    whom it is defined; `computed_by` names the software that computed it, "" until the audit fills in the auditor's own
    package. `only_with` names measurements without which this one says little: whatever the policy, no limit on it
    passes unless limits on those were judged and do not fail.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")]
    by: tuple[str, ...] = ()
    value: Number | None = None
    unit: Unit
    better: Better
    count: WholeNumber
    effective_count: PositiveNumber | None = None
    interval: Interval | None = None
    slices: tuple[Slice, ...] = ()
    compared: tuple[Group, Group] | None = None
    compared_counts: tuple[WholeNumber, WholeNumber] | None = None
    pair: Pair | None = None
    replicates: tuple[Number, ...] = ()
    one_record: PositiveNumber | None = None
    definition: Text
    counted: Text = ""
    computed_by: str = ""
    only_with: tuple[str, ...] = ()
    reason: Text | None = None

    @model_validator(mode="after")
    def _explained(self) -> Measurement:
        if self.value is None and not self.slices and not self.reason:
            raise ValueError(f"measurement {self.id}: a value of None needs slices or a reason")
        seen: set[Group] = set()
        for part in self.slices:
            if part.group in seen:
                raise ValueError(f"measurement {self.id}: group {part.group.text!r} occurs twice")
            seen.add(part.group)
        return self


class Facts(Record):
    """Named statements, such as a privacy ledger or the settings of a sample.

    Where something else than a reader looks for a statement, `id` names the exhibit, and `keys` each of its rows.
    """

    kind: Literal["facts"] = "facts"
    id: str = ""
    keys: tuple[str, ...] = ()
    title: Text
    note: Text = ""
    rows: tuple[tuple[Text, Text], ...]


class Column(Record):
    """A table's column: its heading, and the unit of its numbers (None for text)."""

    name: Text
    unit: Unit | None = None


class Table(Record):
    """Rows of text and numbers under named columns; None is shown as a dash."""

    kind: Literal["table"] = "table"
    title: Text
    note: Text = ""
    columns: tuple[Column, ...]
    rows: tuple[tuple[Text | Number | None, ...], ...]

    @model_validator(mode="after")
    def _rectangular(self) -> Table:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: a row has {len(row)} cells, not {len(self.columns)}")
        return self


class Detectable(Record):
    """How far a slice must truly be from no difference for these data to show it in 80 % of cases."""

    key: tuple[str, ...]
    size: PositiveNumber


class SliceChart(Record):
    """A picture of the slices of one measurement with their intervals, against its limits if it has any.

    `zeros` says whether slices of exactly zero are drawn; where they are not, the page counts them. `shortfall` names a
    measurement of the same breakdown: how far a slice's value lies under its ceiling, which is then marked. `centre` is
    the value of no difference: a line is drawn there, and beside it marks for what is `detectable` of each slice.
    """

    kind: Literal["slices"] = "slices"
    title: Text
    note: Text = ""
    measurement: str
    by: tuple[str, ...] = ()
    zeros: Flag = True
    shortfall: str = ""
    centre: Number | None = None
    detectable: tuple[Detectable, ...] = ()


class SliceTable(Record):
    """A table of the slices of several measurements of one breakdown: a row a group, a column a measurement."""

    kind: Literal["slice_table"] = "slice_table"
    title: Text
    note: Text = ""
    measurements: tuple[str, ...]
    by: tuple[str, ...]


class Line(Record):
    """One line of a curve: `y` over `x`, with an optional band from `low` to `high`, all of one length."""

    name: Text
    x: tuple[Number, ...]
    y: tuple[Number, ...]
    low: tuple[Number, ...] | None = None
    high: tuple[Number, ...] | None = None

    @model_validator(mode="after")
    def _same_length(self) -> Line:
        lengths = {len(part) for part in (self.x, self.y, self.low, self.high) if part is not None}
        if len(lengths) != 1:
            raise ValueError(f"line {self.name!r}: x, y, low and high differ in length")
        return self


class Curve(Record):
    """Lines over a common pair of axes; `identity` asks for the diagonal, such as a perfect model would follow.

    On a `scale` of "log" both axes are logarithmic, and every value lies above 0.
    """

    kind: Literal["curve"] = "curve"
    title: Text
    note: Text = ""
    x_label: Text
    y_label: Text
    x_unit: Unit = "number"
    y_unit: Unit = "number"
    identity: Flag = False
    scale: Literal["linear", "log"] = "linear"
    lines: tuple[Line, ...]

    @model_validator(mode="after")
    def _positive(self) -> Curve:
        parts = (part or () for line in self.lines for part in (line.x, line.y, line.low, line.high))
        if self.scale == "log" and any(value <= 0 for part in parts for value in part):
            raise ValueError(f"curve {self.title!r}: logarithmic axes need values above 0")
        return self


class Grid(Record):
    """Numbers on a grid, as coarse as a picture needs: a byte a cell, row by row, in base64.

    A byte of 0 stands for `low`, one of 255 for `high`.
    """

    height: Count
    width: Count
    low: Number
    high: Number
    cells: str

    @property
    def bytes(self) -> bytes:
        """The cells, one byte each, row by row."""
        return base64.b64decode(self.cells)

    @model_validator(mode="after")
    def _full(self) -> Grid:
        try:
            count = len(base64.b64decode(self.cells, validate=True))
        except binascii.Error as error:
            raise ValueError("grid: its cells are not base64") from error
        if count != self.height * self.width:
            raise ValueError(f"grid: has {count} cells, not {self.height} x {self.width}")
        return self


def grid_of(rows: Sequence[Sequence[float]]) -> Grid:
    """Return rows of finite numbers, all of one length, as a grid.

    >>> grid_of([[0.0, 0.5], [0.25, 1.0]]).bytes.hex()
    '008040ff'
    """
    values = [value for row in rows for value in row]
    low, high = min(values), max(values)
    scale = 255 / (high - low) if high > low else 0.0
    cells = bytes(int((value - low) * scale + 0.5) for value in values)
    text = base64.b64encode(cells).decode("ascii")
    return Grid(height=len(rows), width=len(rows[0]), low=low, high=high, cells=text)


class Panel(Record):
    """An image and, unless None, how strongly its cells are marked, such as by attributions."""

    name: Text
    note: Text = ""
    image: Grid
    heat: Grid | None


class HeatMaps(Record):
    """Panels of images with their heat maps; each panel has its own scale.

    `public_rows` says that panels show single rows of a data set that the policy calls public.
    """

    kind: Literal["heat_maps"] = "heat_maps"
    public_rows: Flag = False
    title: Text
    note: Text = ""
    panels: tuple[Panel, ...]


Exhibit = Annotated[Facts | Table | SliceChart | SliceTable | Curve | HeatMaps, Field(discriminator="kind")]
"""Typed data behind one picture or table of the report; never the picture itself."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What an auditor returns: measurements, exhibits, and notes on what was sampled, dropped or suppressed."""

    measurements: Iterable[Measurement] = ()
    exhibits: Iterable[Facts | Table | SliceChart | SliceTable | Curve | HeatMaps] = ()
    notes: Iterable[str] = field(default=())


def joined_evidence(parts: Sequence[Evidence]) -> Evidence:
    """Return several pieces of evidence as one."""
    return Evidence(
        measurements=[one for part in parts for one in part.measurements],
        exhibits=[one for part in parts for one in part.exhibits],
        notes=[one for part in parts for one in part.notes],
    )
