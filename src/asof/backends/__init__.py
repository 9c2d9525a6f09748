"""One module or folder per product, found by URL scheme through entry points, independent of each other."""
