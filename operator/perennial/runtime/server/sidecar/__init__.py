"""In front of a server of the user's own: the built-in server's ports, counts and receipts; another one predicts."""
