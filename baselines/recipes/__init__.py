"""Recipes of the wrapped methods as data: each paper's, each release's, and the tiny ones that need another loss."""
