"""This machine: sources read through DuckDB, partitions kept in memory and spilled to the project's own disk."""
