"""The two libraries that touch the outside, each in one module: nats-py in `jetstream`, aiosqlite in `sqlite`."""
