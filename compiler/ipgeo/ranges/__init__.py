"""Addresses and runs of them; knows no location."""
