"""Measures of maps and the statistics over them: pure functions that know nothing of methods, studies or files."""
