"""Data to learn from: files, folders and data sets as `Examples`."""
