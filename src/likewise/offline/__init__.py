"""Floor 4: offline engines, which read sources and join them as of times."""
