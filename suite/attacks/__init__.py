"""Adversarial attacks by hand, one file each, and the audit of an attack. No reference library inside."""
