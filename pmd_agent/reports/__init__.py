"""What is shown to people: runs beside each other (comparison.py), and what a run remembers (memory_page.py), as pages."""
