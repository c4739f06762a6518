"""Perennial keeps machine learning models alive on Kubernetes: train, roll out, watch, train again."""
