"""Studies: one item of work in, rows out."""
