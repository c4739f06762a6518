"""The language that users write: the three kinds as models, from which CRDs, reference docs and JSON Schema come."""
