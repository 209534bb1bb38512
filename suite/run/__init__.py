"""One run: its plan, its work on Lightning, its rows on disk."""
