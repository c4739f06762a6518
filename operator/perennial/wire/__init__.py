"""What the operator and the pods it makes say to each other: run definitions, results, references, counts.

Both sides import these structs and nothing of one another, so that neither can drift from the contract alone.
Everything is JSON on the wire; unknown fields are ignored, so that an operator and a pod of neighbouring
releases understand each other.
"""
