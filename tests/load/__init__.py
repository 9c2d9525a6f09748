"""Everything at once, on every store, while processes and servers are killed: `make load`."""
