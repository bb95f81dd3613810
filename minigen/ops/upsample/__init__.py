"""Nearest-neighbour upsampling."""
