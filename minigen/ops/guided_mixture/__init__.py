"""The guided density of a feature: a draw from it by one uniform."""
