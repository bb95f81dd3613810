"""Normal distributions, one a number, by mean and log-variance."""
