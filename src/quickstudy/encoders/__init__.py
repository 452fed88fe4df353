"""Encoders: from inputs to embeddings."""
