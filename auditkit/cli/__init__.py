"""The command line: parse, call, exit code. Heavy imports stand inside the commands, so that --help is instant.

Each file of this folder holds the commands of one errand; `options.py` the options that several share.
"""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from auditkit.cli import audits, compliance, gate, mitigation, models, privacy, reports, schemas
from auditkit.errors import AuditkitError, InputError

app = typer.Typer(
    name="auditkit",
    help="Audit a trained PyTorch model: what it relies on, whom it treats differently, what it leaks, may it ship.",
    epilog="Exit codes: 0 pass (warnings included), 1 a limit failed, 2 usage or input error, 3 the audit is "
    "incomplete, 5 nothing was evaluated.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    audits.run,
    audits.demo,
    audits.auditors,
    models.train,
    models.pack,
    models.inspect,
    mitigation.mitigate,
    privacy.retrain,
    gate.gate,
    reports.render,
    reports.init,
    compliance.compare,
    compliance.index,
    compliance.comply,
    compliance.verify,
    compliance.seal,
    compliance.replay,
):
    app.command()(command)
app.add_typer(schemas.schema, name="schema")

USAGE, INCOMPLETE = 2, 3


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


def call(arguments: list[str]) -> int:
    """Run one command line and return its exit code; never raises."""
    try:
        code = app(arguments or ["--help"], prog_name="auditkit", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except typer.TyperException as error:
        return _fail(f"{error.format_message().rstrip('.')}; see 'auditkit --help'.", USAGE)
    except InputError as error:
        return _fail(str(error), USAGE)
    except AuditkitError as error:
        return _fail(str(error), INCOMPLETE)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; nothing was written.", 130)
    except Exception as error:  # noqa: BLE001  # Python's own exit code for this is 1, which here means "a limit failed"
        traceback.print_exc()
        return _fail(f"auditkit itself failed: {type(error).__name__}: {error}", INCOMPLETE)


def _fail(message: str, code: int) -> int:
    print(f"auditkit: {' '.join(message.split())}", file=sys.stderr)
    return code


def main() -> None:
    """Run the command line of this process, and exit with its code."""
    sys.exit(call(sys.argv[1:]))
