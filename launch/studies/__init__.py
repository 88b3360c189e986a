"""What experiments train and look at, where one file does not hold it."""
