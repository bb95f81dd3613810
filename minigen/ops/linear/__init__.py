"""y = x W^T, for few rows of x and a W that is read once from memory."""
