"""Labels of a table joined with the predictions that server pods remember: what a DriftMonitor's Job runs."""
