"""From logits to probabilities to tokens."""
