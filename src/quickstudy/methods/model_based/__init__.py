"""Learn an architecture that absorbs new examples into its memory."""
