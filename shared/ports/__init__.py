"""What the engine needs from outside: a broker, a clock and a store. Each port has its adapters in `adapters`."""
