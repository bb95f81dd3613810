"""PyTorch twins of the models and their trainer: the only place that imports torch."""
