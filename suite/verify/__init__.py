"""Is my implementation right? `suite verify` and what it stands on."""
