"""Networks: loading, normalisation, layers, rectifiers, and leaving them as they were."""
