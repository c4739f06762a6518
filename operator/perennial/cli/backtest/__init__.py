"""`kubectl perennial backtest`: what a DriftMonitor would have found and done, had it watched these rows.

Rows become counts by the server's own code and go through the controller's own policy; only the surroundings, pods and
the TrainingJob, are made up.
"""
