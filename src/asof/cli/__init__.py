"""The command line door."""

from asof.cli.app import cli, main

__all__ = ["cli", "main"]
