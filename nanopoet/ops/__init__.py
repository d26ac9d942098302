"""Operations that exist for speed alone: the results of torch's own in less time."""
