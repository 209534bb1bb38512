"""What does a map cost, in passes that no method can avoid?"""
