"""Which files belong to a data set: folders, splits, images, label files, format, class list."""
