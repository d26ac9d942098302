"""Writing of poems that are what was asked for."""
