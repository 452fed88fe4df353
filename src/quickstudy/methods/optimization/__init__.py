"""Learn an initialisation, an optimizer, or to predict the parameters of a task's model."""
