"""The tests of Chorus, one folder a tier (unit, contract, architecture, integration, e2e, chaos, bench)."""
