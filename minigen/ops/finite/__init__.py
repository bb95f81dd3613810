"""Only finite numbers: what a token or a pixel is made of."""
