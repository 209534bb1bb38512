"""A run inside the run, on small networks trained on digits."""
