"""The promises that hold at rest, or always: of messages, orders, goods, money and letters, and of every decision."""
