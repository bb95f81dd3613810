"""Convolutions of channel-last images: 3x3, and 3x3 that halves both sides."""
