"""What the outputs of a model mean, as the user declares it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from auditkit import plugins
from auditkit.config_options import TASKS, tasks_of_others
from auditkit.errors import InputError
from auditkit.evidence.measurement import first_problem
from auditkit.schema.schema import Schema, predicts_numbers, task_of


def declare(
    schema: Schema,
    *,
    output: str | None = None,
    threshold: float | None = None,
    task: str | None = None,
    classes: Sequence[str] | None = None,
) -> Schema:
    """Return a schema with what the user declares about the outputs in place of what it says.

    Raises:
        InputError: an unknown word, fewer than two classes or one named twice, a task that the classes are not,
            scores without a threshold, or either of these for a regression.
    """
    check_task(task)
    numbers = predicts_numbers(schema.task)
    if not numbers and output not in (None, "logits", "probabilities", "score"):
        raise InputError(f"output must be logits, probabilities or score, got {output!r}.")
    if "multilabel" in (task, schema.task):
        if task not in (None, schema.task):
            raise InputError(f"task {task}: the model's schema is of a {schema.task} task; pass --schema with another.")
        if classes is not None:
            raise InputError("a multilabel task has no classes but its label columns; leave --classes out.")
        return _declared(schema, output, threshold, {})
    if numbers or (task is not None and predicts_numbers(task)):
        if task is not None and predicts_numbers(task) != numbers:
            classes_of = (
                f"names the classes {', '.join(schema.classes[:5])}" if schema.classes else "is of a regression"
            )
            raise InputError(f"task {task}: the model's schema {classes_of}; pass --schema with another.")
        if output is not None or threshold is not None or classes is not None:
            raise InputError(
                "a regression has neither classes nor a threshold; leave --output, --classes and --threshold out."
            )
        return schema if task is None else _declared(schema, None, None, {"task": task})
    named = tuple(classes) if classes is not None else schema.classes
    if len(named) < 2 or len(set(named)) != len(named):
        raise InputError(f"classes must name at least two different classes, got {','.join(named)!r}.")
    found = task_of(named, task or schema.task)
    if task is not None and task != found:
        raise InputError(f"task {task}: there are {len(named)} classes ({', '.join(named[:5])}); pass --classes a,b,c.")
    return _declared(schema, output, threshold, {"classes": named, "task": found})


def _declared(schema: Schema, output: str | None, threshold: float | None, changed: dict[str, Any]) -> Schema:
    if output is not None:
        changed["output"] = output
    if threshold is not None or (output is not None and "score" in (output, schema.output)):
        changed["threshold"] = threshold  # that of a score means nothing to another output
    try:
        return Schema.model_validate({**schema.model_dump(), **changed})
    except ValidationError as error:
        option = "output" if threshold is None else "threshold"
        raise InputError(f"{option}: {first_problem(error)[1]}.") from error


def check_task(task: str | None) -> None:
    """Raise InputError unless it is one of the tasks, or None."""
    if task is not None and task not in plugins.installed("tasks"):
        raise InputError(f"task must be one of {', '.join([*TASKS, *tasks_of_others()])}, got {task!r}.")
