"""Bank: simulates a bank outside the shop, with a process and a database of its own."""
