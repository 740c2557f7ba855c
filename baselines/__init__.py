"""Wrapped methods."""
