"""The bounded contexts of the shop; none imports another."""
