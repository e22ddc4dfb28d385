"""What each port promises, as one class of tests: the real thing and its fake pass the same."""
