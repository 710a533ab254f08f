"""One module for each kind of object: what it is, how it is read, checked and written."""
