"""What organizations and their scripts call."""
