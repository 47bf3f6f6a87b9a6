"""Where the model errs most: a search on one half of the rows, confirmed on the other."""
