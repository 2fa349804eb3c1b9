"""What trust-and-safety and operations people call."""
