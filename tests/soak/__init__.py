"""A long run: producers, workers that are killed, rebuilds and readers on one project; then every read is checked."""
