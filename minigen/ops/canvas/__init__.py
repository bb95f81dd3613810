"""The tokens of a picture while it is being decoded."""
