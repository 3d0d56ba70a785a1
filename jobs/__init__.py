"""What the schedule runs, by the night or by hand."""
