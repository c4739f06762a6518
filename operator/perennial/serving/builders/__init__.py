"""One builder for each child of a ModelDeployment: the object, or nothing where there should be none."""
