"""Group norm: each group of channels of an image is centred and scaled."""
