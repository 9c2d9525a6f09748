"""Imports from other feature stores."""
