"""What Nuska's speed is measured with. Ratios within one run, never figures across machines."""
