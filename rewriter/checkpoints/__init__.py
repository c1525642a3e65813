"""Trained weights: reading a file safely, finding the state dict in it, and loading it strictly."""
