"""The trainer: from data to a gated, sealed version of a model."""
