"""Tests of the command line, and the project on disk that they share."""
