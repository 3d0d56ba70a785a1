"""The application: commands, settings, and the one long process."""
