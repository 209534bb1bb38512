"""Can a photo be painted, and what does that do to its maps?"""
