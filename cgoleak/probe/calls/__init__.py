"""Which calls are taken over: through slots, direct, of the user's own pairs; now and later."""
