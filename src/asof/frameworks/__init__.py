"""Hands rows over to learning libraries; it knows batches of columns, nothing of views or stores."""
