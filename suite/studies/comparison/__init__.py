"""Do two methods say the same of a photo?"""
