"""Do two networks look at the same places of a photo?"""
