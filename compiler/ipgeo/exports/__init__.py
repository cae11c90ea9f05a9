"""A blob in formats that other programs read."""
