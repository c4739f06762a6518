"""The TrainingJob: a definition and its runs, each a Job that yields a numbered version."""
