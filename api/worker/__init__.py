"""What the worker apps call."""
