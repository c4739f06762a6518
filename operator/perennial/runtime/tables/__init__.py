"""Tables of rows: where they are and how they are read, by runs and by joins of labels alike."""
