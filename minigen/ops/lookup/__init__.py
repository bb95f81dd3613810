"""The quantiser's look-up: which code is nearest to a vector."""
