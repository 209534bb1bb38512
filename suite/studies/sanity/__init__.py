"""Does a map depend on what the network learned?"""
