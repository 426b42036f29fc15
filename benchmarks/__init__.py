"""What sessions cost, both sides of each comparison in one run: ``python -m benchmarks``. See README.md here."""
