"""Many comparisons in one table: families that are declared before looking, each with a family-wise error of 5 %."""
