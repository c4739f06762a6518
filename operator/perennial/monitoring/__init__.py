"""The DriftMonitor: counts from the pods, verdicts from the counts, and requests that make the loop run again."""
