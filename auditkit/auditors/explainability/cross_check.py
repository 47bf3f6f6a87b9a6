"""Attributions of a few rows computed once more by Captum, whose definitions of the methods the report states."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, TensorDataset

from auditkit.auditors.explainability.methods import METHODS, InputKind
from auditkit.auditors.explainability.methods_table import SHUFFLES
from auditkit.auditors.explainability.shapley import shared_design
from auditkit.auditors.explainability.statistics import sum_by_column
from auditkit.engine.work import GRADIENT, Work
from auditkit.evidence.measurement import Facts
from auditkit.evidence.messages import Message

if TYPE_CHECKING:
    from auditkit.auditors.explainability.methods_table import Explanation
    from auditkit.auditors.explainability.segments import SegmentedRows
    from auditkit.auditors.explainability.target_function import ExplanationInput, Floats

FEW_ROWS = 5

MOST_EVALUATIONS = 2048
"""Captum builds each changed row by itself, which takes it up to a millisecond: so many stay within two seconds."""

MOST_COALITIONS = 4096
"""A changed row of a coalition takes it a tenth of a millisecond: so many stay within half a second."""

MOST_OF_ONE_ROW = 2**14
"""One row is compared up to so many coalitions, those of 14 columns, the most that are explained exactly."""

MOST_OPERATIONS = 1e11
"""What the second computation may cost of arithmetic: about two seconds of two cores."""

OF_ATTRIBUTIONS, OF_DECISIONS = 1e-3, 1e-5
"""Two numbers agree within this share of the largest attribution, and of the largest decision, of the rows compared.

Networks reckon in 32 bits and round otherwise in batches of other sizes; another definition is off by percents.
"""

CELLS_AT_ONCE = 2**22

END_WEIGHT = 1e6
"""Captum's weight of a row as it is and of the baseline, where all coalitions together have 1."""

NO_EQUAL: dict[str, str] = {
    "gradient_shap": Message("Captum draws other points between a baseline and a row"),
    "attention": Message("Captum does not compute attention weights"),
}
"""Methods whose numbers Captum does not compute, and why."""


class CaptumCheck(NamedTuple):
    """How many attributions both computed, of how many rows, how many agree, and the largest difference.

    `tolerance` is the largest difference that counts as agreement, and `where` the column or segment with the largest
    difference.
    """

    compared: int
    rows: int
    agreeing: int
    largest: float
    tolerance: float
    where: int


class Cost(NamedTuple):
    """What Captum's computation takes: changed rows built of `each` row, and of all rows `together`, and passes."""

    each: int
    together: int
    passes: int

    def rows(self, most: int, work: Work) -> int:
        """Return how many rows are compared: five, or as many as stay within the bounds, or none."""
        if self.together > MOST_EVALUATIONS:
            return 0
        built = max(MOST_COALITIONS / max(1, self.each), float(self.each <= MOST_OF_ONE_ROW))
        return int(min(FEW_ROWS, most, built, MOST_OPERATIONS / (self.passes * work.operations)))


def check_columns(given: Explanation, work: Work) -> Facts:
    """Return what the card says of the attributions to columns that Captum computed once more.

    Raises:
        ArithmeticError: a number disagrees.
    """
    second = COLUMNS.get(given.method)
    if second is None:
        return not_computed_again(given.method, "table")
    cost = _cost(given)
    count = cost.rows(len(given.by_column), work)
    if count == 0:
        return _too_dear(cost, work)
    few = _few(len(given.by_column), count, given.seed)
    part = given.explained.take(few)
    whole = part.values(part.inputs)
    check = compared(given.by_column[few], second(given, few), whole)

    def moved() -> Floats:
        rows = [part.take(np.array([row])) for row in range(count)]
        return np.concatenate([row.values(row.inputs) for row in rows]) - whole

    return _facts(check, given.seed, moved, given.columns)


def check_segments(
    method: str,
    kind: InputKind,
    parts: SegmentedRows,
    attributions: Floats,
    *,
    work: Work,
    seed: int,
    second: Callable[[SegmentedRows], Floats] | None = None,
    steps: int = 1,
) -> Facts:
    """Return what the card says of the attributions to segments, (rows, segments), that Captum computed once more.

    `second` computes them by Captum where the method is no occlusion, in so many `steps`.

    Raises:
        ArithmeticError: a number disagrees.
    """
    cost = Cost(0, 1, GRADIENT * steps)
    if method == "occlusion":
        cost, second = Cost(0, parts.width, parts.width + 1), segments_left_out
    if second is None:
        return not_computed_again(method, kind)
    count = cost.rows(len(attributions), work)
    if count == 0:
        return _too_dear(cost, work)
    few = _few(len(attributions), count, seed)
    part = parts.take(few)
    whole = part.values()
    check = compared(attributions[few], second(part), whole)

    def moved() -> Floats:
        return np.concatenate([part.take(np.array([row])).values() for row in range(count)]) - whole

    return _facts(check, seed, moved)


def compared(own: Floats, other: Floats, decisions: Floats) -> CaptumCheck:
    """Compare attributions (rows, parts) with Captum's; `decisions` are what is explained of these rows, (rows,)."""
    away = np.where(np.isfinite(own) & np.isfinite(other), np.abs(own - other), np.inf)
    sizes = max(float(np.abs(own).max(initial=0.0)), float(np.abs(other).max(initial=0.0)))
    tolerance = OF_ATTRIBUTIONS * sizes + OF_DECISIONS * float(np.abs(decisions).max(initial=0.0))
    agreeing = int((away <= tolerance).sum())
    return CaptumCheck(away.size, len(own), agreeing, float(away.max()), tolerance, int(away.max(axis=0).argmax()))


def by_gradients(given: Explanation, few: NDArray[np.int64]) -> Floats:
    """Return Captum's integrated gradients of a few rows in as many steps, by column: (few, columns)."""
    from captum.attr import IntegratedGradients

    explained = given.explained.take(few)
    rows, origin, classes = _tensors(explained)
    cells = IntegratedGradients(explained.decision).attribute(
        rows,
        baselines=origin.expand_as(rows),
        additional_forward_args=(classes,),
        n_steps=given.passes // 3,  # a slope counts as three passes
        method="gausslegendre",
        internal_batch_size=max(len(few), CELLS_AT_ONCE // rows.shape[1]),
    )
    return sum_by_column(cells.detach().double().cpu().numpy(), dict(explained.columns))


def by_ablation(given: Explanation, few: NDArray[np.int64]) -> Floats:
    """Return Captum's ablation of each column of a few rows, put back to the baseline: (few, columns)."""
    explained = given.explained.take(few)
    return _ablated(explained, np.broadcast_to(explained.baseline, explained.inputs.shape))


def by_shuffles(given: Explanation, few: NDArray[np.int64]) -> Floats:
    """Return Captum's mean ablation of a few rows, each column put to that of the rows of the same shuffles."""
    rng, explained = np.random.default_rng(given.seed), given.explained
    orders = [rng.permutation(len(explained.inputs)) for _ in range(SHUFFLES)]
    falls = [_ablated(explained.take(few), explained.inputs[order][few]) for order in orders]
    return np.asarray(np.mean(falls, axis=0))


def by_coalitions(given: Explanation, few: NDArray[np.int64]) -> Floats:
    """Return Captum's Kernel SHAP of a few rows over the coalitions that were evaluated: (few, columns).

    Over all coalitions, each with the weight of the Shapley kernel, these are the exact Shapley values (Lundberg & Lee
    2017, theorem 2): of `exact_shapley`, which sums instead of fitting, it is a second computation.
    """
    from captum._utils.models.linear_model import SkLearnLinearRegression
    from captum.attr import KernelShap

    explained = given.explained.take(few)
    width = len(explained.columns)
    if width < 2:
        return _ablated(explained, np.broadcast_to(explained.baseline, explained.inputs.shape))
    coalitions, weights = shared_design(width, given.passes, np.random.default_rng(given.seed))
    weight_of = dict(zip(map(tuple, coalitions.tolist()), (weights / weights.sum()).tolist(), strict=True))

    class In64Bits(SkLearnLinearRegression):  # type: ignore[misc]
        """Captum's regression of 64-bit numbers: in 32 bits the values of 30 columns are off by percents."""

        def fit(self, train_data: DataLoader[Any], **kwargs: object) -> object:
            assert isinstance(train_data.dataset, TensorDataset)
            doubles = TensorDataset(*(part.double() for part in train_data.dataset.tensors))
            return super().fit(DataLoader(doubles, batch_size=train_data.batch_size), **kwargs)

    class OfDesign(KernelShap):  # type: ignore[misc]
        """Captum's regression over given coalitions instead of drawn ones."""

        def kernel_shap_similarity_kernel(
            self, _: object, __: object, interpretable_sample: torch.Tensor, **kwargs: object
        ) -> torch.Tensor:
            return torch.tensor([weight_of.get(tuple(interpretable_sample[0].bool().tolist()), END_WEIGHT)])

        def kernel_shap_perturb_generator(self, original_inp: torch.Tensor, **kwargs: object) -> Iterator[torch.Tensor]:
            ends = np.array([[True] * width, [False] * width])
            for known in np.concatenate([ends, coalitions]):
                yield torch.from_numpy(known)[None].long().to(original_inp.device)

    rows, origin, classes = _tensors(explained)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum says that it fits each row by itself
        shap = OfDesign(explained.decision)
        shap.interpretable_model = In64Bits()
        cells = shap.attribute(
            rows,
            baselines=origin,
            additional_forward_args=(classes,),
            feature_mask=_column_numbers(explained),
            n_samples=len(coalitions) + 2,
            perturbations_per_eval=256,
        )
    return _first_cells(explained, cells)


def segments_left_out(parts: SegmentedRows) -> Floats:
    """Return Captum's ablation of each segment of a few rows: (rows, segments), 0 where a row has no such segment."""
    from captum.attr import FeatureAblation

    def without(kept: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        part = parts.take(places.numpy())
        return torch.from_numpy(part.values((kept.numpy() == 0) & part.exists))

    whole = torch.ones(len(parts.inputs), parts.width)
    found = FeatureAblation(without).attribute(
        whole, baselines=0.0, additional_forward_args=(torch.arange(len(whole)),)
    )
    return np.asarray(found.double().numpy())


COLUMNS: dict[str, Callable[[Explanation, NDArray[np.int64]], Floats]] = {
    "integrated_gradients": by_gradients,
    "feature_ablation": by_ablation,
    "permutation": by_shuffles,
    "kernel_shap": by_coalitions,
    "shapley": by_coalitions,
}
"""By which function of Captum each method over columns is computed once more."""


def _cost(given: Explanation) -> Cost:
    """Return what it costs to have Captum compute a method over columns."""
    if given.method == "integrated_gradients":
        return Cost(0, 1, given.passes)
    if given.method in ("shapley", "kernel_shap"):
        return Cost(given.passes, 0, given.passes)
    return Cost(0, given.passes, given.passes)


def _few(count: int, wanted: int, seed: int) -> NDArray[np.int64]:
    return np.sort(np.random.default_rng([seed, 13]).choice(count, size=wanted, replace=False)).astype(np.int64)


def _tensors(explained: ExplanationInput) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the rows, the baseline as one row, and which output of each row is explained."""
    arrays = (explained.inputs, explained.baseline[None], explained.predicted)
    rows, origin, classes = (torch.from_numpy(np.ascontiguousarray(one)).to(explained.device) for one in arrays)
    return rows, origin, classes


def _column_numbers(explained: ExplanationInput) -> torch.Tensor:
    """Return the number of the column that each encoded cell is of, (1, cells)."""
    widths = [part.stop - part.start for part in explained.columns.values()]
    return torch.from_numpy(np.repeat(np.arange(len(widths)), widths))[None].to(explained.device)


def _first_cells(explained: ExplanationInput, cells: torch.Tensor) -> Floats:
    """Return a column's attribution, which Captum repeats in each of its cells: (rows, columns)."""
    starts = [part.start for part in explained.columns.values()]
    return np.asarray(cells.detach().double().cpu().numpy()[:, starts])


def _ablated(explained: ExplanationInput, others: NDArray[np.float32]) -> Floats:
    """Return Captum's fall of the decision when a column has the cells of `others`, (rows, cells): (rows, columns)."""
    from captum.attr import FeatureAblation

    rows, _, classes = _tensors(explained)
    with torch.no_grad():
        cells = FeatureAblation(explained.decision).attribute(
            rows,
            baselines=torch.from_numpy(np.ascontiguousarray(others)).to(explained.device),
            additional_forward_args=(classes,),
            feature_mask=_column_numbers(explained),
        )
    return _first_cells(explained, cells)


def _facts(check: CaptumCheck, seed: int, moved: Callable[[], Floats], names: Sequence[str] = ()) -> Facts:
    """Return the result of a comparison; `moved` returns how far the decisions move when a row is predicted alone.

    Raises:
        ArithmeticError: a number disagrees, and the model gives the same row the same decision.
    """
    from captum import __version__

    if check.agreeing < check.compared:
        if float(np.abs(moved()).max(initial=0.0)) > check.tolerance:
            return _not_compared(Message("the model gives the same row another output in another batch"))
        part = repr(names[check.where]) if names else f"segment {check.where + 1}"
        raise ArithmeticError(
            f"Captum {__version__} computes {check.compared - check.agreeing} of {check.compared} attributions "
            f"otherwise, that of {part} by {check.largest:.3g}; the report cannot be relied on"
        )
    drawn = {"agreeing": check.agreeing, "compared": check.compared, "rows": check.rows, "seed": seed}
    counts = (
        Message("{agreeing:,} of {compared:,}, in the {rows} row drawn with seed {seed}", **drawn)
        if check.rows == 1
        else Message("{agreeing:,} of {compared:,}, in {rows} rows drawn with seed {seed}", **drawn)
    )
    largest = Message(
        "{largest:.2g}, where up to {tolerance:.2g} is the rounding of 32-bit numbers",
        largest=check.largest,
        tolerance=check.tolerance,
    )
    return Facts(
        title=Message("Checked against Captum"),
        rows=(
            (Message("Attributions that agree"), counts),
            (Message("Largest difference"), largest),
            (Message("Captum"), str(__version__)),
        ),
    )


def not_computed_again(method: str, kind: InputKind) -> Facts:
    """Return that a method is computed by Captum itself, or not at all."""
    if kind not in METHODS[method].by_captum:
        return _not_compared(NO_EQUAL[method])
    from captum import __version__

    return Facts(
        title=Message("Checked against Captum"),
        rows=((Message("Attributions computed by"), Message("Captum {version}", version=str(__version__))),),
    )


def _too_dear(cost: Cost, work: Work) -> Facts:
    for evaluations, most in ((cost.together, MOST_EVALUATIONS), (cost.each, MOST_OF_ONE_ROW)):
        if evaluations > most:
            return _not_compared(
                Message(
                    "Captum would change each row {evaluations:,} times, and this check at most {most:,} times",
                    evaluations=evaluations,
                    most=most,
                )
            )
    return _not_compared(
        Message(
            "one row would take {operations:.2g} operations, and this check may take {most:.2g}",
            operations=float(cost.passes * work.operations),
            most=MOST_OPERATIONS,
        )
    )


def _not_compared(why: str) -> Facts:
    return Facts(title=Message("Checked against Captum"), rows=((Message("Not compared"), why),))
