"""Oracles: what must hold of any controller, whatever is killed, late or misused. They are for every room to use."""
