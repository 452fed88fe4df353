"""Learn a prior, and condition it on the support set."""
