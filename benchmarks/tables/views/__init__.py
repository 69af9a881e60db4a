"""Tables as every format shows them: columns of values, and the words that belong to them."""
