"""Writes the pages that come from the code itself: the command line reference and the table of errors."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

from asof import errors

if TYPE_CHECKING:
    import click
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before the build reads them."""
    target = Path(app.confdir) / "generated"
    target.mkdir(exist_ok=True)
    for name, text in {"cli.md": cli_reference(), "errors.md": error_reference()}.items():
        file = target / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
    return {"parallel_read_safe": True}


def error_classes() -> list[type[errors.AsofError]]:
    """Return every error class with a code of its own, in the order of the module."""
    found = [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, errors.AsofError)]
    return [c for c in found if "code" in vars(c)]


def error_reference() -> str:
    """Return a section per error code."""
    sections = []
    for kind in error_classes():
        python = ", ".join(f"`{base.__name__}`" for base in kind.__mro__ if base.__module__ == "builtins")
        natural = python.split(", ", maxsplit=1)[0]
        facts = [
            ("Class", f"`asof.errors.{kind.__name__}`, also a {natural}"),
            ("HTTP status", str(kind.http_status)),
            ("Exit status", str(kind.exit_code)),
            ("Worth a retry", "yes" if kind.retryable else "no"),
        ]
        rows = "\n".join(f"| {label} | {value} |" for label, value in facts)
        sections.append(f"### {kind.code}\n\n{inspect.getdoc(kind).splitlines()[0]}\n\n| | |\n|---|---|\n{rows}\n")
    return "\n".join(sections)


def cli_reference() -> str:
    """Return a section per command, with its help as the terminal shows it."""
    from asof.cli import cli

    return "\n".join(_section(name, command) for name, command in sorted(_commands(cli, "asof").items()))


def _commands(command: click.Command, name: str) -> dict[str, click.Command]:
    import click

    found = {name: command}
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for child in command.list_commands(context):
            if (nested := command.get_command(context, child)) is not None and not nested.hidden:
                found |= _commands(nested, f"{name} {child}")
    return found


def _section(name: str, command: click.Command) -> str:
    import click

    context = click.Context(command, info_name=name, max_content_width=100)
    formatter = click.HelpFormatter(max_width=100)
    for part in (click.Command.format_usage, click.Command.format_help_text, click.Command.format_options):
        part(command, context, formatter)
    return f"### {name}\n\n```text\n{formatter.getvalue().rstrip()}\n```\n"
