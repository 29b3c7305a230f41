"""Sets a clone up. Runs before anything is installed, so on the standard library alone."""
