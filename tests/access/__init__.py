"""Who may do what: rules, keys, tokens, masks, the audit log, and the doors that enforce them."""
