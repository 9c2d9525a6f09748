"""Topics of Redis Streams, read by position."""
