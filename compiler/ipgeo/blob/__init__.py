"""The blob: the only room that knows its bytes."""
