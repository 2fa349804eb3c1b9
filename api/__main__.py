"""`python -m api` is `footwork`."""

from api.cli import main

main()
