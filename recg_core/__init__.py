"""LLM-RecG: zero-shot cross-domain sequential recommendation with LLM item embeddings."""
