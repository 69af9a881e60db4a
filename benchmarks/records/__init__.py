"""What a run leaves: its record, the store of all records, and the tables of scores beside them."""
