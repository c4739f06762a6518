"""What a pod remembers of its traffic: drift counts, labels and totals in files that outlive the process."""
