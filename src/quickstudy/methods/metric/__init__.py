"""Learn a similarity."""
