"""Perennial keeps machine learning models alive on Kubernetes: train, roll out, watch, train again."""

__version__ = "0.1.0"
