"""Functions and decompositions in words and in pictures, for people who choose among them."""
