"""Classifier-free guidance of logits."""
