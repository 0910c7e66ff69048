"""Payments: takes the money for an order once, and gives it back when the order does not happen."""
