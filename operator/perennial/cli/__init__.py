"""`kubectl perennial`: what a person does with the three resources beyond `kubectl get` and `apply`."""
