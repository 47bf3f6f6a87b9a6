"""Languages: what turns the English texts of a report and of a page into another language."""
