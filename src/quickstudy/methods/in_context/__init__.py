"""Read examples and answer, without changing a weight."""
