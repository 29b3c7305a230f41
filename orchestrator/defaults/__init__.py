"""What the embedded stack starts with: a catalogue, an agent, its tools and their records."""
