"""kubectl perennial."""
