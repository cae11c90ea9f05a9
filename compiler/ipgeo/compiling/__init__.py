"""From a source to a proven blob."""
