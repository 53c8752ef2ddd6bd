"""Train, val and test: shares, folds, groups, split files."""
