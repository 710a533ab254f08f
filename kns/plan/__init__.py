"""Pure: the difference of two HostStates as ordered ops, and each op as a shell command."""
