"""`python -m rnnverify`."""

from rnnverify.cli import main

main()
