"""What a trained run synthesises: volumes, and how a feature network sees them."""
