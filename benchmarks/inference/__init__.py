"""What a trained run synthesises, as volumes or as scores of a feature network."""
