"""What leaves the hub: batches, files, fine-tunes, models. Knows samples, and nobody above it."""
