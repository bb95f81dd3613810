"""What the CPU kernels of several ops share."""
