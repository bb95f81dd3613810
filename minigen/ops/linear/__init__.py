"""y = x W^T + bias, for few rows of x and a W that is read once from memory."""
