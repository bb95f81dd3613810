"""Mixtures of Gaussians: their parameters, densities and draws."""
