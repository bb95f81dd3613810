"""What the CUDA kernels of several ops share."""
