"""What `python -m tests.stack.fire_alerts` consists of: the stack, the causes of the alerts, and the runbooks."""
