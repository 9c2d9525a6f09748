"""Projects whose offline side is on object storage."""
