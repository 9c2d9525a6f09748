"""Asof: a feature store whose values are the same in training and in serving."""
