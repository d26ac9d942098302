"""The command and the page that write poems."""
