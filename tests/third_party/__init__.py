"""Packages that extend Asof from outside, as anybody could write them."""
