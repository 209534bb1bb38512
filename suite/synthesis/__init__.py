"""Pictures made by a network: class visualisation. Knows nothing of studies."""
