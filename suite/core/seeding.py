"""Seeds and orders from names, so that neither batch nor order nor chunk matters. No torch."""

import hashlib
import json


def seed_of(*parts: object) -> int:
    """63 bits from what names a draw."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def rank_of(seed: int, purpose: str, name: str) -> bytes:
    """A name's place in a list of random order: lists are sorted by it, so that an order is a seed's and a name's."""
    return hashlib.blake2b(json.dumps([seed, purpose, name]).encode(), digest_size=16).digest()
