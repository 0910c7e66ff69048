"""Notifications: tells the customer how the order goes, once about each thing."""
