"""Labs that are built to be measured or compared."""
