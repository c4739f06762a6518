"""Pictures as plain SVG, for pages and files that must need nothing else."""
