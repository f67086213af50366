"""A whole `params.yaml`: what can be known to be wrong before anything runs."""
