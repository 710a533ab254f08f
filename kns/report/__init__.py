"""Results as rich tables, JSON, JUnit, SVG or HTML. No logic, no I/O."""
