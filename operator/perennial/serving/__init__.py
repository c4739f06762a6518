"""The ModelDeployment: revisions of a served model, rolled out step by step, scaled and rolled back."""
