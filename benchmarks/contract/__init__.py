"""Whether a method keeps the contract, and the catalogue of those that do."""
