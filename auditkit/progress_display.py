"""How far a command is, while it runs: bars on a terminal, else a line every half minute."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from auditkit.progress import AuditProgress
from auditkit.render.text import one_line

EVERY_SECONDS = 30.0
"""How often a run that nobody watches on a terminal says how far it is."""


@contextmanager
def progress(*, silent: bool) -> Iterator[AuditProgress]:
    """Give a function that shows how far each part is: in bars on a terminal, else in a line every half minute."""
    if silent:
        yield lambda name, fraction, what: None
        return
    if not sys.stderr.isatty():
        with _lines(EVERY_SECONDS) as tell:
            yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<14}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}", style="bright_black", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as bars:
        tasks: dict[str, TaskID] = {}

        def show(name: str, fraction: float, what: str) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=1.0, what=what)
            bars.update(tasks[name], completed=fraction, what="" if fraction >= 1 else what)

        yield show


@contextmanager
def _lines(every: float) -> Iterator[AuditProgress]:
    """Give a function whose latest words are printed to standard error every so many seconds."""
    latest: list[tuple[str, float, str]] = []
    over = threading.Event()

    def show() -> None:
        started = time.monotonic()
        while not over.wait(every):
            for name, fraction, what in latest[-1:]:
                minutes, seconds = divmod(round(time.monotonic() - started), 60)
                said = one_line(f"{minutes}:{seconds:02} {name}, {fraction:.0%}{', ' if what else ''}{what}")
                with contextlib.suppress(OSError, ValueError):
                    sys.stderr.write(f"auditkit: {said}\n")
                    sys.stderr.flush()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield lambda name, fraction, what: latest.__setitem__(slice(None), [(name, fraction, what)])
    finally:
        over.set()
        thread.join()
