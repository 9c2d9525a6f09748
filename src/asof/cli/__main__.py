"""Lets `python -m asof.cli` do what `asof` does."""

from asof.cli.app import main

main()
