"""Kernels for the checker that strangers wrote: right ones, and wrong ones."""
