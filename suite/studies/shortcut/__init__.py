"""Does a map show a planted patch when, and only when, the network uses it?"""
