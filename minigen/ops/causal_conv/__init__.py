"""A short convolution over time, each channel by itself, that never looks ahead."""
