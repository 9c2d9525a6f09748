"""The `asof` command: its subcommands, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Abort, ClickException

from asof import __version__, logs, tracing
from asof.cli import (
    apply,
    audit,
    backfill,
    backup,
    copy,
    deadletter,
    demo,
    describe,
    erase,
    explain,
    historical,
    import_feast,
    initialize,
    key,
    lineage,
    listing,
    materialize,
    online,
    plan,
    prune,
    push,
    revisions,
    run,
    runs,
    serve,
    serving_log,
    status,
    stream,
    training_set,
)
from asof.cli.session import Session
from asof.errors import AsofError, RejectedRowsWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

click.rich_click.TEXT_PARAGRAPH_LINEBREAKS = "\n\n"
_INTERRUPTED = 130
_PIPE_CLOSED = 141


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="asof")
@click.option(
    "--project",
    metavar="DIR",
    default=".",
    help="Directory of the project, or one below it. Default: the working directory.",
)
@click.option(
    "--log-format",
    type=click.Choice(logs.FORMATS),
    envvar=logs.ENVIRONMENT,
    default="text",
    help="How logs and progress are written: as text, or as lines of JSON on stderr.",
)
@click.option(
    "--traces",
    type=click.FloatRange(0, 1),
    envvar=tracing.ENVIRONMENT,
    default=0.0,
    help="Share of requests and runs to trace with OpenTelemetry; OTEL_EXPORTER_OTLP_ENDPOINT says where to.",
)
@click.pass_context
def cli(context: click.Context, project: str, log_format: str, traces: float) -> None:
    """A feature store whose values are the same in training and in serving.

    A first project, from nothing to a served vector:

    \b
        asof init shop && cd shop
        asof apply
        asof materialize
        asof serve
    """
    context.ensure_object(Session).directory = project
    if log_format == "json":
        os.environ[logs.ENVIRONMENT] = log_format  # for workers, too, which are processes of their own
        logs.configure()
    if traces:
        os.environ[tracing.ENVIRONMENT] = str(traces)
        tracing.start_from_environment()


for command in (
    initialize.command,
    import_feast.command,
    plan.command,
    apply.command,
    historical.command,
    training_set.command,
    backfill.command,
    materialize.command,
    run.command,
    runs.command,
    push.command,
    deadletter.command,
    online.command,
    explain.command,
    lineage.command,
    listing.command,
    describe.command,
    status.command,
    serve.command,
    serving_log.command,
    stream.command,
    revisions.command,
    prune.command,
    erase.command,
    key.command,
    audit.command,
    copy.command,
    backup.command,
    backup.restore,
    demo.command,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, an error's own exit code, 2 for wrong usage, 130 after Ctrl-C."""
    session = Session()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", RejectedRowsWarning)
            warnings.showwarning = session.show_warning
            ended = cli.main(arguments, prog_name="asof", standalone_mode=False, obj=session)
    except AsofError as error:
        session.show_error(error)
        code = error.exit_code
    except ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, Abort):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what follows is short, and another Ctrl-C would cut it off
        session.errors.print("Interrupted.")
        code = _INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # its flush at exit would fail again
        code = _PIPE_CLOSED
    else:
        code = ended if isinstance(ended, int) else 0  # of a command that chose its own, `Exit` gives it
    finally:
        session.close()
    sys.exit(code)
