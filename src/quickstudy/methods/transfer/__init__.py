"""The opponents: supervised pre-training, and no training at all."""
