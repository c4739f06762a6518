"""What every pod of the operator has in common: restricted security, mounts, the users' pod settings."""
