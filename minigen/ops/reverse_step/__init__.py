"""One step of diffusion, backwards."""
