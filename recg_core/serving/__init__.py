"""Recommendations in a domain that nobody trained on: bundles, catalogues, and the best items."""
