"""What is wrong with a data set, found before an hour of training is spent on it."""
