"""The model server: Open Inference Protocol v2, drift counts, labels and the companion."""
