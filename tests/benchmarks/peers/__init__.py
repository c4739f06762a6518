"""The servers that ours is measured beside, in an environment of their own."""
