"""What does the network look for?"""
