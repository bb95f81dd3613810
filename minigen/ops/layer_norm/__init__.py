"""Layer norm: a token without its mean and its size."""
