"""Is a handwritten map equal to the reference library's?"""
