"""Metrics, traces, logs and the serving log."""
