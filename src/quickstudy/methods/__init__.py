"""The methods, by family; nothing in the code depends on the family."""
