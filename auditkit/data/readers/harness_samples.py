"""Per-sample logs of lm-evaluation-harness (`--log_samples`): one row a document, one column for each metric."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from auditkit.data.readers.base import DataSource, ReadOptions, ReadRows
from auditkit.data.readers.evaluations import LOG_BYTES, Evaluated, number_of, rows_of
from auditkit.data.readers.text import json_objects
from auditkit.errors import DatasetError
from auditkit.evidence.messages import Message

KNOWN = {
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash",
    "target_hash",
}  # fmt: skip
"""The keys of a line that are no metrics."""

FILE_NAME = re.compile(r"samples_(?P<task>.+?)(_\d{4}-\d\d-\d\dT.*)?\.jsonl(\.gz)?")


class HarnessSamplesReader:
    """Files `samples_TASK_DATE.jsonl` of lm-evaluation-harness."""

    def recognise(self, source: DataSource) -> bool:
        """Return whether the first line begins as a logged sample does."""
        begin = source.head.lstrip()
        return begin.startswith(b"{") and b'"doc_id"' in begin[:200] and (b'"doc"' in begin or b'"resps"' in begin)

    def read(self, source: DataSource, options: ReadOptions) -> ReadRows:
        """Return its documents.

        Of metrics with several filters, each is a column `METRIC,FILTER`, as the harness names them in its results.

        Raises:
            DatasetError: a line is no sample, or a document is logged twice under one filter.
        """
        size = source.file.seek(0, os.SEEK_END)
        LOG_BYTES.check(size, source.name, DatasetError)
        source.file.seek(0)
        named = FILE_NAME.fullmatch(source.path.name)
        task = named["task"] if named is not None else source.path.name.partition(".")[0]
        lines = list(json_objects(source.name, source.file, options.encoding))
        filters = list(dict.fromkeys(str(line.get("filter", "none")) for _, line in lines))
        documents: dict[str, tuple[dict[str, float | None], Mapping[str, Any]]] = {}
        unread: set[str] = set()
        for number, line in lines:
            if "doc_id" not in line:
                raise DatasetError(f"{source.name}: line {number:,}: has no doc_id; it is no sample of the harness.")
            doc = line.get("doc")
            scores, _ = documents.setdefault(str(line["doc_id"]), ({}, doc if isinstance(doc, dict) else {}))
            for metric in _metrics(line):
                name = f"{metric},{line.get('filter', 'none')}" if len(filters) > 1 else metric
                if name in scores:
                    raise DatasetError(
                        f"{source.name}: line {number:,}: document {line['doc_id']} has {name} twice; pass the log of "
                        "one run."
                    )
                value = line.get(metric)
                if value is None or isinstance(value, bool | int | float):
                    scores[name] = None if value is None or value != value else number_of(value)
                else:
                    unread.add(name)
        samples = [Evaluated(task, doc_id, 1, scores, fields) for doc_id, (scores, fields) in documents.items()]
        notes = [Message("A log of lm-evaluation-harness: task {task}.", task=task)]
        if len(filters) > 1:
            notes.append(
                Message("Answers were read by several filters: {names}; each is a score of its own.", names=filters)
            )
        return rows_of(source.name, size, samples, notes, dropped=sorted(unread))


def _metrics(line: Mapping[str, Any]) -> list[str]:
    """Return the metrics of a line: those that it names, or, in older logs, all keys that are nothing else."""
    named = line.get("metrics")
    if isinstance(named, list):
        return [str(name) for name in named if str(name) in line]
    return [str(name) for name in line if name not in KNOWN]
