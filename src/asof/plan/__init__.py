"""Pure planning: definitions and schemas in, plans that are data out."""
