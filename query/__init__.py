"""Analysts: one view ``requests`` over hot and archive, and the gate that every query passes."""
