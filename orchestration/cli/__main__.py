"""`python -m orchestration.cli`: what the stack's processes are started with."""

from orchestration.cli import main

main()
