"""Operations that exist for speed alone: the same results as torch's own, in less time."""
