"""The hot loops: one folder an op, one file a dependency."""
