"""Measurements: a generator of realistic log lines, and the speed of the road they take."""
