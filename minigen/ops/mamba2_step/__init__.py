"""One token through the inside of a Mamba-2 mixer: from its projection to its norm."""
