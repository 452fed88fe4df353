"""What is wrong with a set of labelled examples, told before anything learns from it."""
