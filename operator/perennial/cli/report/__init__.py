"""`kubectl perennial report`: what a DriftMonitor has found, as one page that needs nothing else."""
