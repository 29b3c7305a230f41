"""`fleet up`: every part of the stack on one machine, each brought back when it dies."""
