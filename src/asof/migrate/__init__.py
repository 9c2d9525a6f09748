"""Definitions of other feature stores, read as text and written again as Asof's."""
