"""The residual stream: add what a branch made, and normalise for the next one."""
