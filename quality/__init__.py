"""Verdicts: facts -> gates -> score -> verdict; strikes and reviews. The only package that decides about people's work."""
