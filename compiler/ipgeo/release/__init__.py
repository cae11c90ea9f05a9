"""Judged, atomic, reversible: how a build replaces the one that is served."""
