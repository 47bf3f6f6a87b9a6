"""The command line: parse, call, exit code.

Heavy imports stand inside the commands, so that --help is instant.

Each file of this folder holds the commands of one errand; `options.py` the options that several share.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from auditkit.cli import audits, canaries, compliance, gate, mitigation, models, privacy, reports, schemas, setup
from auditkit.cli.configured import configured, generated
from auditkit.cli.options import with_allow_large
from auditkit.errors import AuditkitError, InputError, out_of_memory


def _generated() -> None:
    """Stand in for a command whose options and body are generated."""


app = typer.Typer(
    name="auditkit",
    help="Audit a trained PyTorch model: what it relies on, whom it treats differently, what it leaks, may it ship.",
    epilog="Exit codes: 0 pass (warnings included), 1 a limit failed, 2 usage or input error, 3 the audit is "
    "incomplete, 5 nothing was evaluated.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for audit_command, needs in (
    (audits.run, {"dataset": True}),
    (models.inspect, {"model": True}),
    (audits.config, {}),
):
    app.command(audit_command.__name__, cls=configured(audit_command, **needs), help=audit_command.__doc__)(_generated)
for requested, request, stated in (
    (models.train, "TrainConfig", ("dataset", "out")),
    (models.pack, "PackConfig", ("model", "out")),
    (privacy.retrain, "RetrainConfig", ("model", "train_dataset", "epsilon")),
    (mitigation.mitigate, "MitigateConfig", ("model", "train_dataset", "dataset", "sensitive", "out")),
    (compliance.replay, "ReplayConfig", ("results",)),
    (gate.gate, "GateConfig", ("results",)),
):
    generated_class = generated(requested, request, needs=stated)
    app.command(requested.__name__, cls=generated_class, help=requested.__doc__)(_generated)
for command in (audits.demo, audits.auditors, setup.init, setup.doctor):
    app.command()(command)
for reading_command in (
    models.sample,
    canaries.canaries,
    reports.render,
    reports.log,
    compliance.compare,
    compliance.index,
    compliance.comply,
    compliance.verify,
    compliance.seal,
):
    app.command()(with_allow_large(reading_command))
app.add_typer(schemas.schema, name="schema")

USAGE, INCOMPLETE, INTERRUPTED, BROKEN_PIPE = 2, 3, 130, 141

GRACE_SECONDS = 4
"""How long a process that was asked to end may take to tidy up."""


def _version(shown: bool) -> None:
    if shown:
        from importlib.metadata import version

        typer.echo(f"auditkit {version('auditkit')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@functools.cache
def _commands() -> Callable[..., object]:
    """Return the commands with their options, which are made once in a process, at its first command line."""
    return typer.main.get_command(app)


def _run(arguments: list[str]) -> int:
    if unreadable := [one for one in arguments if one.encode("utf-8", "ignore").decode() != one]:
        raise InputError(f"the argument {unreadable[0]!r} is not UTF-8 text; rename the file.")
    code = _commands()(arguments or ["--help"], prog_name="auditkit", standalone_mode=False)
    if code == INTERRUPTED:  # so typer answers Ctrl-C, without a word
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def call(arguments: list[str]) -> int:
    """Run one command line and return its exit code; never raises."""
    try:
        return _run(arguments)
    except typer.TyperException as error:
        called = getattr(getattr(error, "ctx", None), "command_path", "auditkit")
        return _fail(
            f"{error.format_message().replace('Value error, ', '').rstrip('.')}; see '{called} --help'.", USAGE
        )
    except AuditkitError as error:
        return _fail(str(error), USAGE if isinstance(error, InputError) else INCOMPLETE)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted.", INTERRUPTED)
    except BrokenPipeError:  # of `auditkit ... | head`: silent, as other programs are, and never 0
        return BROKEN_PIPE
    except OSError as error:  # a full disk behind standard output, a file that was taken away
        return _fail(f"{error}.", INCOMPLETE)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # how Rich ends at a broken pipe: by 1
            return BROKEN_PIPE
        # Typer ends no process here. It is code of the user's own, and may say 0.
        return _fail(f"code that the audit ran ended the process: sys.exit({error.code!r}).", INCOMPLETE)
    except BaseException as error:  # noqa: BLE001  # Python's exit code for it is 1, which here means "a limit failed"
        if (said := out_of_memory(error)) is not None:
            return _fail(f"{said}.", INCOMPLETE)
        return _fail(f"auditkit itself failed: {type(error).__name__}: {error}", INCOMPLETE, traceback.format_exc())


def _fail(message: str, code: int, before: str = "") -> int:
    from auditkit.render.text import one_line

    with contextlib.suppress(OSError, ValueError):  # where standard error is closed, the exit code says it alone
        sys.stderr.write(f"{before}auditkit: {one_line(' '.join(message.split()))}\n")
    return code


def main() -> None:
    """Run the command line of this process, and exit with its code."""
    gc.set_threshold(1_000_000)  # imports make a million objects that stay, and each collection would visit them
    signal.signal(signal.SIGTERM, _interrupt)
    _end_in_time()
    _unwind_exits()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the shell's `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # for as long as the process
        elif isinstance(stream, io.TextIOWrapper):  # a terminal that knows no ✔ gets a question mark
            stream.reconfigure(errors="replace")
    code = call(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its end
        lost = isinstance(error, BrokenPipeError)
        code = code or (BROKEN_PIPE if lost else _fail(f"standard output: {error}.", INCOMPLETE))
    except ValueError:  # closed by code that the audit ran
        pass
    gc.freeze()  # Python collects garbage once more as it ends, and would visit every object of every library
    sys.exit(code)


def _unwind_exits() -> None:
    """Let `os._exit` unwind this process, so that a plugin's is no silent 0, and end a child as it does."""
    process, leave = os.getpid(), os._exit

    def leave_or_unwind(status: int) -> NoReturn:
        if os.getpid() == process:
            raise SystemExit(status)
        leave(status)

    os._exit = leave_or_unwind


def _end_in_time() -> None:
    """End the process `GRACE_SECONDS` after SIGTERM, also in a long call of torch, which Python's handler waits for."""
    heard, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    leave = os._exit

    def wait() -> None:
        while number := os.read(heard, 1):
            if number[0] == signal.SIGTERM:
                time.sleep(GRACE_SECONDS)
                leave(INTERRUPTED)

    threading.Thread(target=wait, daemon=True).start()


def _interrupt(*_: object) -> None:
    """End as Ctrl-C does: what is half written is taken away."""
    raise KeyboardInterrupt
