"""Convolutions of channel-last images: 1x1, 3x3, and 3x3 that halves both sides."""
