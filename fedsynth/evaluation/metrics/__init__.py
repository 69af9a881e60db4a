"""How close a synthesised slice is to the real one, for a batch of slices on their device, without waiting for the host.

`scores.scores` is cheap and judges the rounds; `details.details` costs more and is taken of test slices only.
"""
