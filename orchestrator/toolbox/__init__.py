"""The execution layer: runs tool calls, so that a slow tool costs no worker a slot."""
