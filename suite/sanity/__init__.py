"""Does a map depend on what the network learned? Audits; `verdict` works from rows alone, without torch."""
