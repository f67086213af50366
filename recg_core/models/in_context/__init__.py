"""Ranking by what a domain's texts and observed histories say, with weights learned elsewhere."""
