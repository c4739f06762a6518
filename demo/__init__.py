"""The demonstration: the whole loop on a year of real flights, from a bare machine to a better model in production.

It scripts the traffic, never the verdicts: what the operator finds and does is read from the three resources and told
as it happens.
"""
