"""Judged, atomic, reversible: how a build takes the place of the one that is served."""
