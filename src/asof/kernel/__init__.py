"""The meaning, columns in, columns out: a thin typed surface over the compiled crate."""
