"""Shipped for users and third parties: the oracle, data generators, one conformance class per interface."""
