"""Does a map change when the network has learned permuted labels?"""
