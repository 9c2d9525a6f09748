"""One use case per module, on interfaces only."""
