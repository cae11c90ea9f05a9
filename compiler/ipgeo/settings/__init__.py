"""The settings (`IPGEO_...`) of contract/settings.json: checked, and read from the environment.

nginx/lib/settings.lua has the same rules for the edge. tests/contract/test_settings.py holds both
to the same verdicts in the same words.
"""
