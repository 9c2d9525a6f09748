"""The flights demonstration: real data from raw files to a served vector."""
