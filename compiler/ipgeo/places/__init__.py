"""Locations, codes, and the answers made from them."""
