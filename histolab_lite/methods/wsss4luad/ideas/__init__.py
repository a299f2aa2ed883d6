"""What the best teams did, part by part, and how the organisers had patches tagged."""
