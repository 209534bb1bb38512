"""How easily is the network fooled, is the attack sound, and do the maps notice?"""
