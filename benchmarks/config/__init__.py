"""What a run is: its options, the cells of an experiment, and the identity that names it."""
