"""Pictures made by a network: class visualisation and style transfer. Knows nothing of studies."""
