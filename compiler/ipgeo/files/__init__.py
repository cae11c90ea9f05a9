"""Files: read regular ones only, written atomically."""
