"""What people teach: raw rows come in, approved samples go out. Knows nobody above it."""
