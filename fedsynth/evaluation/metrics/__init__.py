"""How close a synthesised slice is to the real one. Batched, on the images' device, without waiting for the host.

`scores.scores` is cheap and judges the rounds; `details.details` costs more and is of test slices alone.
"""
