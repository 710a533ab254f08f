"""kns beside the kernel's floor and other programs: `make bench`."""
