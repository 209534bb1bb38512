"""Score, log-probability, probability or loss: what should be differentiated?"""
