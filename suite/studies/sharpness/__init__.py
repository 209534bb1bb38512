"""How concentrated is a map?"""
