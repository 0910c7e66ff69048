"""Support: opens a ticket for what needs a person, and closes it when the good news comes."""
